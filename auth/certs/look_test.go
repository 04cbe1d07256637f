//go:build unix

package certs_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/micro/go-platform/auth/certs"
	"github.com/micro/go-platform/internal/rpctest"
)

// buffer is a log for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func opened(t *testing.T) (folder, *certs.Certificates, *buffer) {
	ca, log := rpctest.NewAuthority(t), &buffer{}
	f := folder{t, t.TempDir()}
	f.sign(ca)
	f.write("ca", ca.PEM())
	c, err := certs.Open(f.files(), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return f, c, log
}

// A file that stays bad is told of once.
func TestABadFileIsToldOfOnce(t *testing.T) {
	f, c, log := opened(t)
	const told = "renewed certificates are not used"
	f.write("key", []byte("half a renewal"))
	rpctest.Eventually(t, "it is told of", func() bool { c.Current(); return strings.Contains(log.String(), told) })
	begun := time.Now()
	rpctest.Eventually(t, "it was looked at again and again", func() bool { c.Current(); return time.Since(begun) > 2500*time.Millisecond })
	if n := strings.Count(log.String(), told); n != 1 {
		t.Errorf("told %d times:\n%s", n, log)
	}
	f.sign(rpctest.NewAuthority(t))
	rpctest.Eventually(t, "it is good again", func() bool { c.Current(); return strings.Contains(log.String(), "renewed certificates are used") })
	f.write("key", []byte("half a renewal"))
	rpctest.Eventually(t, "it is told of anew", func() bool { c.Current(); return strings.Count(log.String(), told) == 2 })
}

// Files that cannot be read now, as over a network that hangs, hold up no more
// than the one connection that looks at them.
func TestFilesThatHang(t *testing.T) {
	f, c, _ := opened(t)
	was := c.Current()
	if err := os.Remove(f.path("cert")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(f.path("cert"), 0o600); err != nil {
		t.Fatal(err)
	}
	hung := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(hung)
		for {
			select {
			case <-stop:
				return
			default:
				c.Current()
			}
		}
	}()
	var w *os.File
	rpctest.Eventually(t, "somebody reads the file", func() (ok bool) { // which an open for writing succeeds by
		var err error
		w, err = os.OpenFile(f.path("cert"), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	for range 1000 {
		if c.Current() != was {
			t.Fatal("the last configuration is not used")
		}
	}
	close(stop)
	if err := w.Close(); err != nil { // the reader finds nothing
		t.Error(err)
	}
	<-hung
}
