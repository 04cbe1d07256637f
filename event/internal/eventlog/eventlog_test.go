package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// disk is a store that counts commits, and stands still or fails when it is
// told to.
type disk struct {
	*eventlog.Memory

	mu      sync.Mutex
	commits []int // entries of each
	fail    error
	lie     bool          // commits are done all the same
	reads   chan struct{} // a read waits until it is closed, when there is one
	gate    chan struct{} // a commit takes one of it, when there is a gate
}

func newDisk() *disk { return &disk{Memory: eventlog.NewMemory()} }

func (d *disk) Commit(ctx context.Context, entries []*eventlog.Entry, states []eventlog.State) error {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		<-gate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commits = append(d.commits, len(entries))
	if d.fail == nil || d.lie {
		return errors.Join(d.Memory.Commit(ctx, entries, states), d.fail)
	}
	return d.fail
}

func (d *disk) Read(ctx context.Context, after uint64, f plugin.Filter, limit int) ([]*pb.Record, uint64, error) {
	if d.reads != nil {
		<-d.reads
	}
	return d.Memory.Read(ctx, after, f, limit)
}

func (d *disk) set(fail error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = fail
}

// stand has commits wait until as many are let through.
func (d *disk) stand() (let func(n int)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gate := make(chan struct{})
	d.gate = gate
	return func(n int) {
		for range n {
			gate <- struct{}{}
		}
	}
}

func (d *disk) free() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.gate)
	d.gate = nil
}

func (d *disk) counts() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]int(nil), d.commits...)
}

// bubble runs the test with a clock of its own, which goes on when everybody
// waits.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func open(t *testing.T, s eventlog.Store, conf ...eventlog.Config) *eventlog.Log {
	t.Helper()
	c := eventlog.Config{}
	if len(conf) > 0 {
		c = conf[0]
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	l, err := eventlog.Open(context.Background(), s, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Stop() }) // a second Stop says nothing new
	return l
}

func record(typ, id string) *pb.Record { return &pb.Record{Id: id, Type: typ, Data: id} }

// fill appends records number from to to-1.
func fill(t *testing.T, l *eventlog.Log, typ string, from, to int) {
	t.Helper()
	for from < to {
		var all []*pb.Record
		for ; from < to && len(all) < 500; from++ {
			all = append(all, record(typ, fmt.Sprint(from)))
		}
		if _, err := l.Create(t.Context(), all); err != nil {
			t.Fatal(err)
		}
	}
}

func appendOne(l *eventlog.Log, id string) (*pb.Result, error) {
	all, err := l.Create(context.Background(), []*pb.Record{record("x", id)})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

func filter(t *testing.T, types ...string) plugin.Filter {
	t.Helper()
	f, err := plugin.NewFilter(types...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func ids(records []*pb.Record) (all []string) {
	for _, r := range records {
		all = append(all, r.Id)
	}
	return all
}
