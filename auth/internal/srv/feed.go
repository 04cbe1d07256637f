package srv

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// pollInterval is how often an instance looks for what others changed.
const pollInterval = 500 * time.Millisecond

// pruneInterval is how often what expired is removed.
const pruneInterval = time.Minute

// snapshot is everything that watchers need, at one revision. It never changes.
type snapshot struct {
	revision    uint64
	keys        *keyset
	rules       *ruleset
	revocations []revocation  // by rising revision
	changed     chan struct{} // closed when there is a newer one
}

type ruleset struct {
	list    []*pb.Rule // in the order in which they decide
	decider *policy.Set

	mu    sync.Mutex
	views map[string]*pb.Rules // by view.key
}

// maxViews bounds the views that are kept; others are made each time.
const maxViews = 10_000

// view is the part of the rules that a watcher is sent.
type view struct {
	services []string // nil: all
	key      string
}

func newView(services []string) view {
	return view{services: services, key: strings.Join(services, "\n")}
}

// of returns the rules of a view, made once for all watchers that have it.
func (s *ruleset) of(v view) *pb.Rules {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.views[v.key]; kept != nil {
		return kept
	}
	made := &pb.Rules{Services: v.services, Closed: s.decider != nil && !s.decider.IsOpen()}
	for _, r := range s.list {
		if v.has(r) {
			made.Rules = append(made.Rules, r)
		}
	}
	if len(s.views) < maxViews {
		s.views[v.key] = made
	}
	return made
}

// has reports whether a rule belongs to the view. The services that are told of
// others by name get all rules about names.
func (v view) has(r *pb.Rule) bool {
	if v.services == nil {
		return true
	}
	if policy.IsNames(r) && slices.ContainsFunc(v.services, asksForNames) {
		return true
	}
	return slices.ContainsFunc(v.services, func(s string) bool { return policy.About(r, s) })
}

func asksForNames(service string) bool {
	switch service {
	case policy.PlatformPrefix + "discovery", policy.PlatformPrefix + "monitor", policy.PlatformPrefix + "router", policy.PlatformPrefix + "trace":
		return true
	}
	return false
}

// same reports whether a watcher of a need not be told of b.
func same(a, b *pb.Rules) bool {
	return a == b || a.Closed == b.Closed && slices.EqualFunc(a.Rules, b.Rules, func(x, y *pb.Rule) bool {
		return x.Id == y.Id && x.Revision == y.Revision
	})
}

// feed follows the store: what is in force now, and who is told.
type feed struct {
	store    Store
	log      *slog.Logger
	issuer   string
	rotation rotation
	revoked  *revoked

	now atomic.Pointer[snapshot]
	mu  sync.Mutex // one refresh at a time
}

// newFeed reads the store and makes the first key if there is none.
func newFeed(ctx context.Context, s Store, log *slog.Logger, issuer string, r rotation) (*feed, error) {
	f := &feed{store: s, log: log, issuer: issuer, rotation: r, revoked: newRevoked()}
	f.now.Store(&snapshot{keys: &keyset{}, rules: &ruleset{views: map[string]*pb.Rules{}}, changed: make(chan struct{})})
	if err := f.refresh(ctx); err != nil {
		return nil, err
	}
	return f, f.rotate(ctx)
}

// refresh takes over what changed in the store. What was committed before it
// began is in force when it returns.
func (f *feed) refresh(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.now.Load()
	c, err := f.store.Changes(ctx, was.revision)
	if err != nil {
		return err
	}
	if c.revision == was.revision && was.rules.decider != nil {
		return nil
	}
	is := &snapshot{revision: c.revision, keys: was.keys, rules: was.rules, changed: make(chan struct{})}
	if c.keysNew {
		if is.keys, err = newKeyset(c.keys, f.issuer); err != nil {
			return err
		}
	}
	if c.rulesNew {
		if is.rules, err = newRuleset(c.rules); err != nil {
			return err
		}
	}
	f.revoked.add(c.revocations)
	is.revocations = unexpired(was.revocations, c.revocations)
	f.now.Store(is)
	close(was.changed)
	return nil
}

func newRuleset(rules []*pb.Rule) (*ruleset, error) {
	decider, err := policy.Compile(rules)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rules, policy.Compare)
	return &ruleset{list: rules, decider: decider, views: map[string]*pb.Rules{}}, nil
}

// unexpired returns old and fresh without what hits no token any more. Readers
// may hold old, whose elements never change.
func unexpired(old, fresh []revocation) []revocation {
	now := time.Now().Unix()
	gone := func(r revocation) bool { return r.expires < now }
	if slices.ContainsFunc(old, gone) {
		old = slices.DeleteFunc(slices.Clone(old), gone)
	}
	return append(old, fresh...)
}

// rotate adds and drops signing keys when it is time to.
func (f *feed) rotate(ctx context.Context) error {
	now, ks := time.Now(), f.now.Load().keys
	k, err := f.rotation.next(ks, now)
	if err != nil {
		return err
	}
	below := f.rotation.stale(ks, now)
	if k == nil && below == 0 {
		return nil
	}
	if k != nil {
		if err := f.store.AddKey(ctx, *k); err != nil && !errors.Is(err, rpcerr.ErrExists) {
			return err
		}
	}
	if below > 0 {
		if err := f.store.DropKeys(ctx, below); err != nil {
			return err
		}
	}
	return f.refresh(ctx)
}

// run keeps the feed up to date until ctx ends. Trouble is logged when it
// begins and when it ends.
func (f *feed) run(ctx context.Context) {
	poll, prune := time.NewTicker(pollInterval), time.NewTicker(pruneInterval)
	defer poll.Stop()
	defer prune.Stop()
	failing := false
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			if err = f.refresh(ctx); err == nil {
				err = f.rotate(ctx)
			}
		case now := <-prune.C:
			f.revoked.forget(now.Unix())
			err = f.store.Prune(ctx, now)
		}
		if ctx.Err() == nil && (err != nil) != failing {
			failing = err != nil
			f.tell(err)
		}
	}
}

func (f *feed) tell(err error) {
	if err != nil {
		f.log.Warn("cannot follow the database: keys, policies and revocations stay as they are", "error", err)
		return
	}
	f.log.Info("follows the database again")
}

// message tells a watcher at was what it needs to be at is; nil is one that
// knows nothing.
func (is *snapshot) message(was *snapshot, v view, issuer string) *pb.WatchResponse {
	if was != nil && was.revision == is.revision {
		return &pb.WatchResponse{}
	}
	m := &pb.WatchResponse{Revision: is.revision}
	if was == nil {
		m.Reset_, m.Issuer = true, issuer
	}
	if was == nil || was.keys != is.keys {
		m.Jwks = is.keys.jwks
	}
	if was == nil || was.rules != is.rules && !same(was.rules.of(v), is.rules.of(v)) {
		m.Rules = is.rules.of(v)
	}
	for _, r := range is.revocations {
		if was == nil || r.revision > was.revision {
			m.Revocations = append(m.Revocations, &pb.Revocation{
				Jti: r.jti, Sid: r.sid, Account: r.account, Before: r.before, ExpiresAt: r.expires,
			})
		}
	}
	return m
}
