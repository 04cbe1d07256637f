package daemon_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc/peer"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Attack: one account opens streams until there is none for others.
func TestStreamsAreBoundedByAccount(t *testing.T) {
	s := daemon.NewStreams(2)
	as := func(account string) context.Context {
		return auth.WithToken(context.Background(), &auth.Token{Metadata: map[string]string{"sub": account}})
	}
	from := func(address string) context.Context {
		return peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(address), Port: 1}})
	}
	var leave func()
	for _, who := range []context.Context{as("low"), as("orders"), from("10.0.0.1"), from("10.0.0.2")} {
		for range 2 {
			var err error
			if leave, err = s.Enter(who); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Enter(who); !errors.Is(err, rpcerr.ErrLimited) {
			t.Errorf("a third one: %v", err)
		}
	}
	if n := s.Len(); n != 8 {
		t.Errorf("there are %d, want 8", n)
	}
	leave()
	if _, err := s.Enter(from("10.0.0.2")); err != nil {
		t.Errorf("after one left: %v", err)
	}
}
