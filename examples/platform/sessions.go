package main

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/micro/go-platform/kv"
)

// remembered is how many sessions are checked at the end, the latest.
const remembered = 10_000

// sessions is what the customers were told about theirs.
type sessions struct {
	wrong atomic.Int64 // answers that did not fit what was acknowledged before

	mu     sync.Mutex
	latest []string
	told   map[string]known
}

// known is what was acknowledged of a session, and what a call without an
// answer may have made of it.
type known struct{ acked, tried session }

func (s *sessions) try(id string, to session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.told[id]; ok {
		s.told[id] = known{m.acked, to}
	}
}

func (s *sessions) acknowledge(id string, is session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil {
		s.told = map[string]known{}
	}
	if _, ok := s.told[id]; !ok {
		s.latest = append(s.latest, id)
	}
	s.told[id] = known{is, is}
	if len(s.latest) > remembered {
		delete(s.told, s.latest[0])
		s.latest = s.latest[1:]
	}
}

func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.latest)
}

// lost reads every session back and returns how many there are, and how many of
// them are gone or different.
func (s *sessions) lost(ring kv.KV) (all, lost int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ids := range slices.Chunk(s.latest, kv.MaxMany) {
		keys := make([]string, len(ids))
		for i, id := range ids {
			keys[i] = sessionKey(id)
		}
		items, err := ring.(kv.Many).GetMany(keys, kv.WithContext(ctx))
		if err != nil {
			return len(s.latest), len(s.latest), err
		}
		for _, id := range ids {
			if !s.told[id].fits(items[sessionKey(id)]) {
				lost++
			}
		}
	}
	return len(s.latest), lost, nil
}

func (m known) fits(item *kv.Item) bool {
	var have session
	return item != nil && json.Unmarshal(item.Value, &have) == nil && (have.equal(m.acked) || have.equal(m.tried))
}

func (s session) equal(o session) bool {
	return s.Visitor == o.Visitor && slices.Equal(s.Items, o.Items)
}
