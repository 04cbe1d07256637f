package srv

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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
	packs       packs
}

// feed follows the store: what is in force now, and who is told.
type feed struct {
	store    Store
	log      *slog.Logger
	issuer   string
	rotation rotation
	revoked  *revoked
	decided  *decisions // on calls, by services and by this one

	now atomic.Pointer[snapshot]
	mu  sync.Mutex // one refresh at a time
}

// newFeed reads the store and makes the first key if there is none.
func newFeed(ctx context.Context, s Store, log *slog.Logger, issuer string, r rotation) (*feed, error) {
	f := &feed{store: s, log: log, issuer: issuer, rotation: r, revoked: newRevoked(), decided: newDecisions()}
	f.now.Store(&snapshot{keys: &keyset{}, rules: newRuleset(&policy.Set{}), changed: make(chan struct{})})
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
	if c.revision == was.revision {
		return nil
	}
	is := &snapshot{revision: c.revision, keys: was.keys, rules: was.rules, changed: make(chan struct{})}
	if c.keysNew {
		if is.keys, err = newKeyset(c.keys, f.issuer); err != nil {
			return err
		}
	}
	if c.rules != nil {
		if is.rules, err = was.rules.next(c.rules); err != nil {
			return err
		}
	}
	f.revoked.add(c.revocations)
	is.revocations = unexpired(was.revocations, c.revocations)
	f.now.Store(is)
	close(was.changed)
	return nil
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

// pack tells a watcher at was what it needs to be at is.
func (is *snapshot) pack(was *snapshot, w wants) *pack {
	return is.packs.of(packKey{was: was.revision, view: w.view.key, differences: w.differences}, func() *pb.WatchResponse {
		return is.message(was, w)
	})
}

func (is *snapshot) message(was *snapshot, w wants) *pb.WatchResponse {
	m := &pb.WatchResponse{Revision: is.revision}
	if was.keys != is.keys {
		m.Jwks = is.keys.jwks
	}
	if m.Rules, m.Changes = is.rules.rulesFor(was.rules, w); m.Rules != nil || m.Changes != nil {
		m.Position = is.rules.position(w.view)
	}
	m.Revocations = is.revoked(was.revision)
	return m
}

// first tells a watcher that begins everything, or what changed since the
// position that it knows.
func (is *snapshot) first(w wants, known, issuer string) *pack {
	since, resumed := is.rules.resume(known, w.view)
	var changes *pb.RuleChanges
	if resumed = resumed && w.differences; resumed {
		changes, resumed = is.rules.since(since, w.view)
	}
	if !resumed {
		since, changes = 0, nil
	}
	return is.packs.of(packKey{was: since, first: true, view: w.view.key, differences: w.differences}, func() *pb.WatchResponse {
		m := &pb.WatchResponse{
			Revision: is.revision, Issuer: issuer, Jwks: is.keys.jwks, Revocations: is.revoked(0), Position: is.rules.position(w.view),
		}
		if m.Changes, m.Reset_ = changes, !resumed; m.Reset_ {
			m.Rules = is.rules.of(w.view)
		}
		return m
	})
}

// revoked returns the revocations after a revision.
func (is *snapshot) revoked(since uint64) (later []*pb.Revocation) {
	for _, r := range is.revocations {
		if r.revision > since {
			later = append(later, &pb.Revocation{
				Jti: r.jti, Sid: r.sid, Account: r.account, Before: r.before, ExpiresAt: r.expires,
			})
		}
	}
	return later
}

// isUrgent reports whether who knows was must be told at once: of keys and
// revocations.
func (is *snapshot) isUrgent(was *snapshot) bool {
	n := len(is.revocations)
	return is.keys != was.keys || n > 0 && is.revocations[n-1].revision > was.revision
}
