package srv

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/codec/bytes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
)

// Fill adds rules to a database at once.
func (f *Follower) Fill(t testing.TB, rules []*pb.Rule) {
	t.Helper()
	if err := f.feed.store.(*sqlStore).change(t.Context(), "fill", func(tx *sql.Tx, revision uint64) error {
		for _, r := range rules {
			if err := writeRule(t.Context(), tx, r, revision); err != nil {
				return err
			}
		}
		return rulesChanged(t.Context(), tx, revision, "none", nil)
	}); err != nil {
		t.Fatal(err)
	}
	f.Refresh(t)
}

// Refresh takes over what changed.
func (f *Follower) Refresh(t testing.TB) {
	t.Helper()
	if err := f.feed.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Rules returns how many rules are known.
func (f *Follower) Rules() int { return f.feed.now.Load().rules.set.Len() }

// Put makes a rule as Policy.Create does.
func (f *Follower) Put(t testing.TB, r *pb.Rule) {
	t.Helper()
	h := &policyHandler{feed: f.feed, decisions: newDecisions(), insecure: true}
	if err := h.Create(t.Context(), &pb.PolicyCreateRequest{Rule: r, Force: true}, &pb.PolicyCreateResponse{}); err != nil {
		t.Fatal(err)
	}
}

// Delete deletes a rule.
func (f *Follower) Delete(t testing.TB, id string) {
	t.Helper()
	h := &policyHandler{feed: f.feed, decisions: newDecisions(), insecure: true}
	if err := h.Delete(t.Context(), &pb.PolicyDeleteRequest{Id: id, Force: true}, &pb.PolicyDeleteResponse{}); err != nil {
		t.Fatal(err)
	}
}

// Crowd is watchers without a network between.
type Crowd struct {
	handler *policyHandler
	// What they were told, with what encoding costs grpc.
	Messages, Bytes atomic.Int64
	Last            atomic.Int64 // rules that they were told, in sum
	ended           chan error
	started         int
}

// Crowd returns where watchers can be added.
func (f *Follower) Crowd() *Crowd {
	return &Crowd{handler: &policyHandler{feed: f.feed, watchers: daemon.NewStreams(maxWatchers)}, ended: make(chan error, 1<<12)}
}

// Watch adds the watcher of an account.
func (c *Crowd) Watch(ctx context.Context, account string, differences bool) {
	is := &claims{Scope: ScopeService, Type: "service"}
	is.Subject, is.Audience = account, []string{auth.ServiceName}
	if account == AdminID {
		is.Scope = ScopeAdmin
	}
	ctx = context.WithValue(ctx, claimsKey{}, &shown{is, ""})
	c.started++
	go func() {
		c.ended <- c.handler.Watch(ctx, &pb.WatchRequest{Services: []string{account}, Differences: differences}, &counted{ctx: ctx, crowd: c})
	}()
}

// Wait waits until all watchers have ended.
func (c *Crowd) Wait(t testing.TB) {
	t.Helper()
	for range c.started {
		if err := <-c.ended; err != nil {
			t.Error(err)
		}
	}
}

type counted struct {
	ctx   context.Context
	crowd *Crowd
}

func (s *counted) Context() context.Context       { return s.ctx }
func (s *counted) Close() error                   { return nil }
func (s *counted) RecvMsg(any) error              { return fmt.Errorf("not asked for") }
func (s *counted) Send(m *pb.WatchResponse) error { return s.SendMsg(m) }

func (s *counted) SendMsg(m any) error {
	data := []byte(nil)
	switch m := m.(type) {
	case *bytes.Frame:
		data = m.Data
		var told pb.WatchResponse
		if len(data) > 64<<10 {
			break // all rules
		}
		if err := proto.Unmarshal(data, &told); err != nil {
			return err
		}
		s.crowd.Last.Add(int64(len(told.GetChanges().GetPut())))
	case proto.Message:
		var err error
		if data, err = proto.Marshal(m); err != nil {
			return err
		}
	}
	s.crowd.Bytes.Add(int64(len(data)))
	s.crowd.Messages.Add(1)
	return nil
}

// Decisions are those that services report.
type Decisions struct{ *decisions }

// NewDecisions returns none.
func NewDecisions() Decisions { return Decisions{newDecisions()} }

// Add takes over what an account reported.
func (d Decisions) Add(reporter string, now time.Time, reported ...*pb.Decided) {
	d.add(reporter, reported, 0, now)
}

// Learn takes over what was reported to another instance.
func (d Decisions) Learn(instance string, now time.Time, reported ...*pb.Decided) {
	d.learn([]savedDecisions{{instance: instance, reporter: "shop", decisions: reported}}, now)
}

// Fitting returns how many of them are saved.
func Fitting(all []*pb.Decided) int { return len(fitting(all)) }

// Count returns how many are known and how many were dropped.
func (d Decisions) Count(now time.Time) (kept int, lost int64) {
	return len(d.allowed(now, func(*pb.Call) bool { return true })) + len(d.denials("", "", now)), d.lost(now)
}

// Latest returns the latest denial.
func (d Decisions) Latest(now time.Time) *pb.Decided { return d.denials("", "", now)[0] }

// DryRun returns how many calls a new rule would cut.
func (f *Follower) DryRun(t testing.TB, d Decisions, r *pb.Rule) int64 {
	t.Helper()
	h := &policyHandler{feed: f.feed, decisions: d.decisions, insecure: true}
	rsp := &pb.PolicyCreateResponse{}
	if err := h.Create(t.Context(), &pb.PolicyCreateRequest{Rule: r, DryRun: true}, rsp); err != nil {
		t.Fatal(err)
	}
	return rsp.Effects.Total
}

// Prune removes what has expired before a time.
func (f *Follower) Prune(t testing.TB, now time.Time) {
	t.Helper()
	if err := f.feed.store.Prune(t.Context(), now); err != nil {
		t.Fatal(err)
	}
}

// Position is where all rules are now.
func (f *Follower) Position() string { return f.feed.now.Load().rules.position(newView(nil)) }

// First is what a watcher of all rules is sent that knows a position.
func (f *Follower) First(known string) *pb.WatchResponse {
	return f.feed.now.Load().first(wants{newView(nil), true}, known, "").message
}
