package eventlog

import (
	"context"
	"maps"
	"slices"
	"sort"
	"sync"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

// Memory is a Store that is gone with the process.
type Memory struct {
	id string

	mu      sync.RWMutex
	records []*pb.Record
	ids     map[string]uint64
	bytes   int64
	expired uint64
	last    uint64
	states  map[string][]byte
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{id: uuid.NewString(), ids: make(map[string]uint64), states: make(map[string][]byte)}
}

// ID implements Store.
func (m *Memory) ID() string { return m.id }

// Shared implements Store.
func (m *Memory) Shared() bool { return false }

// Close implements Store. What was appended stays readable by a next Open.
func (m *Memory) Close() error { return nil }

// Bounds implements Store.
func (m *Memory) Bounds(context.Context) (expired, last uint64, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.expired, m.last, nil
}

// Commit implements Store.
func (m *Memory) Commit(_ context.Context, entries []*Entry, states []State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		if seq, known := m.ids[e.Record.Id]; known && !e.Again {
			e.Sequence, e.Duplicate = seq, true
			continue
		}
		m.last++
		e.Sequence = m.last
		if _, known := m.ids[e.Record.Id]; !known {
			m.ids[e.Record.Id] = m.last
		}
		e.Record.Sequence = m.last
		m.records = append(m.records, e.Record)
		m.bytes += int64(proto.Size(e.Record))
	}
	for _, st := range states {
		if st.Data == nil {
			delete(m.states, st.Name)
		} else {
			m.states[st.Name] = st.Data
		}
	}
	return nil
}

// Read implements Store.
func (m *Memory) Read(_ context.Context, after uint64, f plugin.Filter, limit int) ([]*pb.Record, uint64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var found []*pb.Record
	cursor, bytes := after, 0
	for i := m.place(after + 1); i < len(m.records) && len(found) < limit && bytes < MaxPage; i++ {
		r := m.records[i]
		cursor = r.Sequence
		if f.Match(r.Type) {
			found = append(found, r)
			bytes += proto.Size(r)
		}
	}
	return found, cursor, nil
}

// place returns where the record of the sequence is, or the next.
func (m *Memory) place(sequence uint64) int {
	return sort.Search(len(m.records), func(i int) bool { return m.records[i].Sequence >= sequence })
}

// Before implements Store.
func (m *Memory) Before(_ context.Context, nano int64) (uint64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	i := sort.Search(len(m.records), func(i int) bool { return m.records[i].Appended >= nano })
	if i == 0 {
		return m.expired, nil
	}
	return m.records[i-1].Sequence, nil
}

// Find implements Store.
func (m *Memory) Find(_ context.Context, id string) (*pb.Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, r := range slices.Backward(m.records) {
		if r.Id == id {
			return r, nil
		}
	}
	return nil, nil
}

// Search implements Store.
func (m *Memory) Search(_ context.Context, q Query) (found []*pb.Record, cut bool, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := m.records
	switch {
	case q.Reverse && q.After > 0:
		all = all[:m.place(q.After)]
	case !q.Reverse:
		all = all[m.place(q.After+1):]
	}
	if q.Reverse {
		all = slices.Clone(all)
		slices.Reverse(all)
	}
	bytes := 0
	for _, r := range all {
		switch {
		case int64(len(found)) == q.Limit:
			return found, false, nil
		case bytes > MaxPage:
			return found, true, nil
		case !q.Matches(r):
		case q.Offset > 0:
			q.Offset--
		default:
			found = append(found, r)
			bytes += proto.Size(r)
		}
	}
	return found, false, nil
}

// Erase implements Store.
func (m *Memory) Erase(_ context.Context, id string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.records)
	m.records = slices.DeleteFunc(slices.Clone(m.records), func(r *pb.Record) bool { return r.Id == id })
	return before - len(m.records), nil
}

// Expire implements Store.
func (m *Memory) Expire(_ context.Context, before, bytes int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.records) > 0 && (m.records[0].Appended < before || bytes > 0 && m.bytes > bytes) {
		r := m.records[0]
		m.records, m.expired = m.records[1:], r.Sequence
		m.bytes -= int64(proto.Size(r))
		if m.ids[r.Id] == r.Sequence {
			delete(m.ids, r.Id)
		}
	}
	return false, nil
}

// States implements Store.
func (m *Memory) States(context.Context) ([]State, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := make([]State, 0, len(m.states))
	for _, name := range slices.Sorted(maps.Keys(m.states)) {
		all = append(all, State{name, m.states[name]})
	}
	return all, nil
}
