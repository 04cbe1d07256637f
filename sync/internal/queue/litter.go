package queue

import (
	"context"
	"maps"
	"slices"
)

// litter is what is known of an entry that the session's loop removes.
type litter struct {
	// doubtful is one that may still be made, by a request that is on its way:
	// it is removed at every renewal for as long as the session lives.
	doubtful bool
	tried    bool // a removal may be on its way
}

// leave removes the entry of a ticket that was dropped, now or in the background.
func (s *session) leave(ctx context.Context, t *ticket) error {
	err := s.store.Leave(ctx, t.ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.reuse(t.ref.Name)
		return nil
	}
	s.litter[t.ref] = litter{tried: true}
	s.hurry()
	return err
}

// abandon is leave for a caller that does not wait for it.
func (s *session) abandon(t *ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropLocked(t) {
		s.litter[t.ref] = litter{}
		s.hurry()
	}
}

// doubt is abandon for a ticket of which nobody knows whether its entry was
// made, or will be.
func (s *session) doubt(t *ticket) {
	s.mu.Lock()
	s.dropLocked(t)
	s.litter[t.ref] = litter{doubtful: true}
	s.mu.Unlock()
	s.retire()
}

// tidy finds entries that somebody removed or brought back, and removes those
// that were left. What fails now is done at the next renewal.
func (s *session) tidy(ctx context.Context) {
	if held := s.held(); len(held) > 0 {
		missing, err := s.store.Missing(ctx, s.lease, held)
		if err == nil {
			s.lose(missing)
		}
	}
	if s.suspect.Swap(false) {
		bound, err := s.store.Bound(ctx, s.lease)
		s.suspect.Store(err != nil)
		s.disown(bound)
	}
	s.sweep(ctx)
}

// disown makes litter of the entries that no ticket has: what was given back
// long ago is there again in a server that was restored.
func (s *session) disown(bound []Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range bound {
		if t, ok := s.tickets[ref.Name]; ok && t.ref.Queue == ref.Queue {
			continue
		}
		s.names = slices.DeleteFunc(s.names, func(name string) bool { return name == ref.Name })
		s.litter[Ref{Queue: ref.Queue, Name: ref.Name}] = litter{tried: true}
	}
}

// sweep removes the litter. What it has no time for is done soon, what fails at
// the next renewal.
func (s *session) sweep(ctx context.Context) {
	s.mu.Lock()
	refs := slices.Collect(maps.Keys(s.litter))
	s.mu.Unlock()
	for _, ref := range refs {
		if ctx.Err() != nil {
			s.hurry()
			return
		}
		s.swept(ref, s.store.Leave(ctx, ref) == nil)
	}
}

func (s *session) swept(ref Ref, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.litter[ref]
	if !done || l.doubtful {
		l.tried = true
		s.litter[ref] = l
		return
	}
	delete(s.litter, ref)
	if !l.tried {
		s.reuse(ref.Name)
	}
}

// reuse is called with the mutex held, when the name's entry is gone. No request
// about it may be on its way: it could be for the entry that is made next.
func (s *session) reuse(name string) {
	for ref := range s.litter {
		if ref.Name == name {
			return
		}
	}
	s.names = append(s.names, name)
}
