package queue_test

import (
	"context"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/memstore"
)

// An entry's name is used again: the next leader of the same process has it too.
func TestObserveTellsLeadersOfOneName(t *testing.T) {
	server := memstore.NewServer()
	f := newFaulty(server)
	s, again := start(t, server.Store()), make(chan struct{})
	elect := func(node string) sync.Elected {
		l, err := s.Leader("x", sync.LeaderNode(&registry.Node{Id: node}))
		if err != nil {
			t.Fatal(err)
		}
		seat, err := l.Elect()
		if err != nil {
			t.Fatal(err)
		}
		return seat
	}
	f.once("Wait", func(context.Context, func() error) error { <-again; return nil })
	first := elect("a")
	watching, err := start(t, f).Leader("x")
	if err != nil {
		t.Fatal(err)
	}
	seen, err := watching.Observe(sync.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"a", "b"} {
		select {
		case n := <-seen:
			if n == nil || n.Id != want {
				t.Errorf("observed %v, want %s", n, want)
			}
		case <-time.After(patience):
			t.Fatalf("never observed %s", want)
		}
		if i == 0 {
			if err := first.Resign(); err != nil {
				t.Fatal(err)
			}
			elect("b")
			close(again)
		}
	}
}
