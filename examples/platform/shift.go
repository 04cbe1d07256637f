package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/micro/go-platform/kv"
)

// shift is who leads the schedulers, as seen by what they write. It pauses a
// leader until another one has written, then lets it write what it was about to.
type shift struct {
	mu     sync.Mutex
	wanted bool // whoever writes next is paused

	paused  string // who, with which token
	token   uint64
	resume  chan struct{} // closed when somebody else has written
	settled chan struct{} // closed when it is known what became of the late write
	late    error         // what that was told; nil: it was accepted

	leader string // who wrote last, with which token
	latest uint64
	orders int // that were settled
}

// pauseLeader has the leader paused before its next write.
func (s *shift) pauseLeader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled == nil {
		s.wanted, s.resume, s.settled = true, make(chan struct{}), make(chan struct{})
	}
}

// mayPause holds the scheduler, and with it what renews its lease.
func (s *shift) mayPause(ctx context.Context, who *scheduler, token uint64) {
	s.mu.Lock()
	now := s.wanted
	if now {
		s.wanted, s.paused, s.token = false, who.name, token
	}
	s.mu.Unlock()
	if !now {
		return
	}
	who.gate.Shut()
	defer who.gate.Open()
	select {
	case <-s.resume:
	case <-ctx.Done():
	}
}

// wrote notes what became of a write.
func (s *shift) wrote(who string, token uint64, orders int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.paused == who && s.token == token && s.resumed() && !isClosed(s.settled):
		if s.late = err; err == nil || errors.Is(err, kv.ErrStale) {
			close(s.settled)
		}
	case err == nil:
		s.leader, s.latest, s.orders = who, token, orders
		if s.paused != "" && token > s.token && !s.resumed() {
			close(s.resume)
		}
	}
}

func (s *shift) resumed() bool { return isClosed(s.resume) }

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// wait waits until a pause that began is over.
func (s *shift) wait() {
	s.mu.Lock()
	settled := s.settled
	s.mu.Unlock()
	if settled == nil {
		return
	}
	select {
	case <-settled:
	case <-time.After(closing):
	}
}

// refused tells whether the late write was, and in words what happened.
func (s *shift) refused() (bool, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused == "" {
		return false, "nobody was paused"
	}
	if !isClosed(s.settled) {
		return false, fmt.Sprintf("%s led with token %d and was paused; nobody took over", s.paused, s.token)
	}
	told := "accepted"
	if s.late != nil {
		told = s.late.Error()
	}
	return errors.Is(s.late, kv.ErrStale), fmt.Sprintf("%s led with token %d and was paused, %s went on with %d; the late write: %s",
		s.paused, s.token, s.leader, s.latest, told)
}

// state is a line of the report.
func (s *shift) state() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := isClosed(s.settled)
	if s.paused != "" && !over {
		return fmt.Sprintf("%s led with token %d and is paused, %d orders are settled", s.paused, s.token, s.orders)
	}
	text := fmt.Sprintf("%s leads with token %d, %d orders are settled", s.leader, s.latest, s.orders)
	if over && s.late != nil {
		text += fmt.Sprintf("; the late write of %s was refused: %v", s.paused, s.late)
	}
	return text
}
