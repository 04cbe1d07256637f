package eventlog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/clean"
)

const (
	readAhead = 256
	// buryAgain is how long a dead letter waits that could not be appended.
	buryAgain = time.Second
)

// dispatch runs while the subscription has members.
func (s *subscription) dispatch() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.log.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	wait := backoff.Backoff{Max: time.Second}
	for ctx.Err() == nil {
		last, grown := s.log.tail.grown()
		s.mu.Lock()
		if s.attached() == 0 || s.removed {
			s.running = false
			s.mu.Unlock()
			return
		}
		s.tick(time.Now())
		s.forgetWants(time.Now())
		s.deliver()
		due := s.due() // with the leases of what was just delivered
		dead := s.dying
		s.dying = nil
		more := s.hungry() && (len(s.reread) > 0 || s.next < last || s.next < s.log.expired.Load())
		s.mu.Unlock()
		switch {
		case len(dead) > 0:
			s.bury(ctx, dead)
		case more:
			if err := s.read(ctx); err != nil {
				s.log.conf.Logger.Warn("cannot read for a subscription, will retry", "subscription", s.name, "error", err)
				if wait.Wait(ctx) != nil {
					return
				}
			} else {
				wait.Reset()
			}
		default:
			s.idle(ctx, grown, due)
		}
	}
}

// idle waits until there may be something to do.
func (s *subscription) idle(ctx context.Context, grown <-chan struct{}, due time.Time) {
	var alarm <-chan time.Time
	if !due.IsZero() {
		timer := time.NewTimer(time.Until(due))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-ctx.Done():
	case <-grown:
	case <-s.wake:
	case <-alarm:
	}
}

// read adds the next records: first those that were unsettled when the state
// was saved.
func (s *subscription) read(ctx context.Context) error {
	s.mu.Lock()
	filter, united, after, limit, again := s.filter, s.united, s.next, readAhead, len(s.reread) > 0
	if again {
		filter, after, limit = s.log.all, s.reread[0]-1, s.stretch()
	}
	s.mu.Unlock()
	page, err := s.log.Read(ctx, after, filter, limit)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case again:
		s.readAgain(page)
		s.passOver()
	case united != s.united:
		return nil // the types have changed meanwhile: read again
	default:
		for _, r := range page.Records {
			s.add(r)
		}
		s.next = page.Cursor
		s.skipped(page.Skipped)
	}
	s.forget()
	s.log.changed(s)
	return nil
}

// stretch returns how many records of the log to read for those that were unsettled
// and are close to the first of them. They are read whatever their types: the members
// that come back first may name others.
func (s *subscription) stretch() int {
	first := s.reread[0]
	i, _ := slices.BinarySearch(s.reread, first+readAhead)
	return int(s.reread[i-1]-first) + 1
}

// readAgain adds the records of the page that were unsettled. What is not in
// the log any more is settled.
func (s *subscription) readAgain(page *plugin.Page) {
	for _, r := range page.Records {
		for len(s.reread) > 0 && s.reread[0] < r.Sequence {
			s.drop()
		}
		if len(s.reread) > 0 && s.reread[0] == r.Sequence {
			s.reread = s.reread[1:]
			s.add(r)
		}
	}
	for len(s.reread) > 0 && s.reread[0] <= page.Cursor {
		s.drop()
	}
}

func (s *subscription) drop() {
	delete(s.tries, s.reread[0])
	s.reread = s.reread[1:]
	s.skipped(1)
}

func (s *subscription) skipped(n uint64) {
	if n == 0 {
		return
	}
	s.stats.skipped += n
	s.log.conf.Logger.Warn("records were removed before a subscription settled them",
		"subscription", s.name, "records", n)
}

// bury appends dead letters. Those it cannot append are tried again.
func (s *subscription) bury(ctx context.Context, items []*item) {
	entries := make([]*Entry, len(items))
	for i, it := range items {
		entries[i] = &Entry{Record: s.deadLetter(it)}
	}
	err := s.log.Append(ctx, entries)
	if err == nil {
		err = s.unforge(ctx, entries)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, it := range items {
		if s.items[it.record.Sequence] != it {
			continue // acknowledged by somebody at last
		}
		if err != nil || entries[i].Err != nil {
			s.wait(it, buryAgain)
			continue
		}
		s.settle(it)
		s.stats.dead++
	}
	s.log.changed(s)
	if err != nil && ctx.Err() == nil {
		s.log.conf.Logger.Warn("cannot append dead letters, will retry", "subscription", s.name, "error", err)
	}
}

// unforge appends the dead letters whose ids somebody else has used: only one
// of ours is the same.
func (s *subscription) unforge(ctx context.Context, entries []*Entry) error {
	var again []*Entry
	for _, e := range entries {
		if !e.Duplicate {
			continue
		}
		r, err := s.log.Find(ctx, e.Record.Id)
		if err != nil {
			return err
		}
		if r.GetType() != e.Record.Type {
			e.Again = true
			again = append(again, e)
		}
	}
	return s.log.Append(ctx, again)
}

func (s *subscription) deadLetter(it *item) *pb.Record {
	return DeadLetter(s.name, it.record, int(it.try), it.reason)
}

// DeadLetter returns the dead letter of a record. Its id follows from the
// record's, so that the log takes it once.
func DeadLetter(subscription string, r *pb.Record, tries int, reason string) *pb.Record {
	now := time.Now()
	dead := &pb.Record{
		Id:     fmt.Sprintf("%s/%s/%d", r.Id, subscription, r.Sequence),
		Type:   event.DeadLetterType(subscription),
		Origin: r.Origin, RootId: r.RootId, Key: r.Key, Data: r.Data, Binary: r.Binary,
		Timestamp: now.Unix(), TimestampNano: now.UnixNano(),
		Metadata: maps.Clone(r.Metadata),
	}
	if dead.RootId == "" {
		dead.RootId = r.Id
	}
	if dead.Metadata == nil {
		dead.Metadata = make(map[string]string)
	}
	dead.Metadata[event.DeadReason] = clean.Text(reason, 1024)
	dead.Metadata[event.DeadTries] = strconv.Itoa(tries)
	dead.Metadata[event.DeadType] = r.Type
	dead.Metadata[event.DeadSequence] = strconv.FormatUint(r.Sequence, 10)
	return dead
}
