// Package check is what the tests of the examples of sync share.
package check

import (
	"bytes"
	"context"
	"errors"
	"strings"
	stdsync "sync"
	"testing"
	"time"

	"github.com/micro/go-platform/examples/sync/workers"
	"github.com/micro/go-platform/sync"
)

// output ends the example when all that was wanted has been written.
type output struct {
	mu   stdsync.Mutex
	buf  bytes.Buffer
	want []string
	done context.CancelFunc
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.buf.Write(b)
	if len(o.missing()) == 0 {
		o.done()
	}
	return n, err
}

func (o *output) missing() (missing []string) {
	for _, w := range o.want {
		if !strings.Contains(o.buf.String(), w) {
			missing = append(missing, w)
		}
	}
	return missing
}

// Run wants every worker to lead and a late entry to be refused.
func Run(t *testing.T, maker workers.Maker, address string) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	out := &output{want: []string{"worker-1", "worker-2", "worker-3", "entry 3", "late entry refused: stale fencing token"}, done: cancel}
	if err := workers.Run(ctx, maker, address, out); err != nil {
		t.Fatal(err)
	}
	if missing := out.missing(); len(missing) > 0 {
		t.Errorf("%q are missing in\n%s", missing, &out.buf)
	}
}

// Typos wants an address that cannot be to be told by its option, and one where
// nobody listens by itself.
func Typos(t *testing.T, maker workers.Maker) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for _, test := range []struct {
		address string
		is      error
		says    string
	}{
		{"localhost", sync.ErrInvalid, `Nodes: "localhost"`},
		{"127.0.0.1:1", sync.ErrUnavailable, "127.0.0.1:1"},
	} {
		err := workers.Run(ctx, maker, test.address, &output{done: func() {}, want: []string{"never"}})
		if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %v", test.address, err, test.is)
		}
	}
}
