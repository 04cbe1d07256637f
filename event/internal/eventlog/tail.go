package eventlog

import (
	"sort"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

const (
	tailRecords = 8192
	tailBytes   = 16 << 20
)

// tail is the newest records in memory, so that followers of the log do not read
// the store.
type tail struct {
	mu      sync.RWMutex
	from    uint64 // all records after it are here
	last    uint64
	records []*pb.Record
	bytes   int
	changed chan struct{} // closed and replaced when last grows
}

func newTail(last uint64) *tail {
	return &tail{from: last, last: last, changed: make(chan struct{})}
}

func (t *tail) end() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.last
}

// grown returns the end and a channel that is closed when it is beyond.
func (t *tail) grown() (uint64, <-chan struct{}) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.last, t.changed
}

// add appends records that follow each other.
func (t *tail) add(records []*pb.Record) {
	if len(records) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range records {
		if r.Sequence <= t.last { // seen by extend already: the store has it
			t.reset(t.last)
			continue
		}
		if r.Sequence != t.last+1 {
			t.reset(r.Sequence - 1)
		}
		t.records = append(t.records, r)
		t.bytes += proto.Size(r)
		t.last = r.Sequence
	}
	if len(t.records) > tailRecords || t.bytes > tailBytes {
		t.trim()
	}
	t.announce()
}

// extend says that others appended up to last.
func (t *tail) extend(last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last > t.last {
		t.reset(last)
		t.announce()
	}
}

func (t *tail) reset(last uint64) {
	t.from, t.last, t.records, t.bytes = last, max(last, t.last), nil, 0
}

// forget drops what was read from memory, after records were erased.
func (t *tail) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reset(t.last)
}

func (t *tail) announce() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// trim keeps the newer half, by count and by bytes.
func (t *tail) trim() {
	drop := 0
	for drop < len(t.records) && (len(t.records)-drop > tailRecords/2 || t.bytes > tailBytes/2) {
		t.bytes -= proto.Size(t.records[drop])
		t.from = t.records[drop].Sequence
		drop++
	}
	t.records = append([]*pb.Record(nil), t.records[drop:]...)
}

// read is Store.Read; ok is false when the records are no longer here.
func (t *tail) read(after uint64, f plugin.Filter, limit int) (records []*pb.Record, cursor uint64, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if after < t.from {
		return nil, 0, false
	}
	if after >= t.last {
		return nil, after, true
	}
	bytes := 0
	i := sort.Search(len(t.records), func(i int) bool { return t.records[i].Sequence > after })
	for ; i < len(t.records); i++ {
		r := t.records[i]
		if !f.Match(r.Type) {
			continue
		}
		records = append(records, r)
		bytes += proto.Size(r)
		if len(records) == limit || bytes > MaxPage {
			return records, r.Sequence, true
		}
	}
	return records, t.last, true
}
