package daemon

import (
	"context"
	"fmt"
	"sync"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Streams counts the streams of a method by the account that opened them: one
// account cannot take those of all others. It is safe for concurrent use.
type Streams struct {
	most int
	mu   sync.Mutex
	of   map[string]int
	all  int64
}

// NewStreams allows each account so many streams, or each host where callers are
// not authenticated.
func NewStreams(most int) *Streams { return &Streams{most: most, of: map[string]int{}} }

// Enter counts a stream until leave is called. It returns an ErrLimited when the
// caller has as many as it may.
func (s *Streams) Enter(ctx context.Context) (leave func(), err error) {
	who := "host " + PeerHost(ctx)
	if t, ok := auth.TokenFromContext(ctx); ok {
		who = "account " + t.Account()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[who] >= s.most {
		return nil, fmt.Errorf("%w: %.140s has %d streams already", rpcerr.ErrLimited, who, s.most)
	}
	s.of[who]++
	s.all++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.of[who]--; s.of[who] == 0 {
			delete(s.of, who)
		}
	}, nil
}

// Len returns how many there are.
func (s *Streams) Len() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}
