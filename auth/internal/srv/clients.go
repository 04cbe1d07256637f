package srv

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/micro/go-platform/internal/rpcerr"
)

// errSecret is the one answer to a wrong secret, an unknown client and a
// disabled account, so that nobody learns which it was.
var errSecret = fmt.Errorf("%w: unknown client or wrong secret", rpcerr.ErrUnauthenticated)

// errGuessing is returned without looking at the secret.
var errGuessing = fmt.Errorf("%w: too many wrong secrets, try again in a minute", rpcerr.ErrLimited)

// errBusy is returned when too many secrets wait to be looked at.
var errBusy = fmt.Errorf("%w: too many secrets to check", rpcerr.ErrLimited)

// errLate is returned when the answer would come after the caller has gone.
var errLate = fmt.Errorf("%w: more secrets to check than the caller has time for", rpcerr.ErrLimited)

// How many wrong secrets that people chose are let through in one to two windows.
// A client that knew its secret at the same peer within a day is held to the limit
// of that pair alone, so that others cannot lock it out.
const (
	guessWindow     = time.Minute
	guessesOfPair   = 10  // of one peer for one client
	guessesOfKnown  = 100 // of one peer for one client that knew its secret there
	guessesOfClient = 100 // for one client
	guessesOfPeer   = 100 // of one peer; more than can wait at once
)

// familiarFor is how long it counts that a client knew its secret at a peer, also
// at other instances and after a restart.
const familiarFor = 24 * time.Hour

// provenTTL is how long at most, and half of it at least, a secret that was
// right needs no argon2id again: services that refresh their tokens every few
// minutes do not queue behind a flood. What is kept is an HMAC under a key of
// this process, never the secret. The account is read each time: a new secret
// or disabling counts at once.
const provenTTL = time.Hour

type pair struct{ client, peer string }

// clients checks who comes with which secret.
type clients struct {
	store  Store
	hasher *hasher
	log    *slog.Logger
	key    [32]byte
	flight singleflight.Group

	proven   *recent[[32]byte]
	familiar *recent[pair] // of this process
	pairs    *recent[pair]
	ids      *recent[string]
	peers    *recent[string]
	waiting  waiting
}

// waiting counts by peer the checks that wait for a hash or compute it.
type waiting struct {
	mu sync.Mutex
	of map[string]int
}

func (w *waiting) enter(peer string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of[peer]++
	return w.of[peer]
}

func (w *waiting) leave(peer string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[peer]--; w.of[peer] == 0 {
		delete(w.of, peer)
	}
}

// maxRemembered bounds each of the tables, which are some 10 MB when full.
const maxRemembered = 100_000

func newClients(s Store, h *hasher, log *slog.Logger) *clients {
	c := &clients{
		store: s, hasher: h, log: log,
		proven:   newRecent[[32]byte](provenTTL/2, maxRemembered),
		familiar: newRecent[pair](familiarFor/2, maxRemembered),
		pairs:    newRecent[pair](guessWindow, maxRemembered),
		ids:      newRecent[string](guessWindow, maxRemembered),
		peers:    newRecent[string](guessWindow, maxRemembered),
		waiting:  waiting{of: map[string]int{}},
	}
	_, _ = rand.Read(c.key[:]) // it never fails
	return c
}

// check returns the account of a client that proved to know its secret, at the
// address peer. Equal checks at the same time share one hash. A secret that was
// made here, or was proven lately, meets no limit: who guesses at the same address
// cannot take it from its client.
func (c *clients) check(ctx context.Context, peer, clientID, secret string) (*account, error) {
	if len(clientID) > maxID || len(secret) > maxSecret {
		return nil, errSecret
	}
	a, err := c.store.AccountOfClient(ctx, clientID)
	if errors.Is(err, rpcerr.ErrNotFound) {
		a = &account{disabled: true}
	} else if err != nil {
		return nil, err
	}
	if wasMade(a.secret) {
		if !c.hasher.isMade(a.secret, secret) || a.disabled {
			return nil, errSecret
		}
		return a, nil
	}
	proof := c.proof(clientID, secret, a.secret)
	if !c.proven.has(proof, time.Now()) {
		if err := c.prove(ctx, pair{strings.Clone(clientID), peer}, proof, a.secret, secret); err != nil {
			return nil, err
		}
	}
	if a.disabled {
		return nil, errSecret
	}
	return a, nil
}

func (c *clients) proof(clientID, secret, kept string) (sum [32]byte) {
	m := hmac.New(sha256.New, c.key[:])
	for _, s := range []string{clientID, kept, secret} {
		fmt.Fprintf(m, "%d:%s", len(s), s)
	}
	return [32]byte(m.Sum(sum[:0]))
}

// known reports whether a client knew its secret at a peer within a day.
func (c *clients) known(ctx context.Context, who pair, now time.Time) (bool, error) {
	if c.familiar.has(who, now) {
		return true, nil
	}
	return c.store.Proven(ctx, c.hasher.place(who), now.Add(-familiarFor))
}

// limited reports whether there were too many wrong secrets.
func (c *clients) limited(who pair, known bool, now time.Time) bool {
	if known {
		return c.pairs.add(who, 0, now) >= guessesOfKnown
	}
	return c.pairs.add(who, 0, now) >= guessesOfPair ||
		c.ids.add(who.client, 0, now) >= guessesOfClient || c.peers.add(who.peer, 0, now) >= guessesOfPeer
}

// hashTimeout bounds a check that several callers may share.
const hashTimeout = 10 * time.Second

// prove hashes the secret. A caller whose turn would come too late is refused at
// once.
func (c *clients) prove(ctx context.Context, who pair, proof [32]byte, kept, secret string) error {
	known, err := c.known(ctx, who, time.Now())
	if err != nil {
		return err
	}
	l := &c.hasher.unknown
	if known {
		l = &c.hasher.known
	}
	if c.limited(who, known, time.Now()) {
		return errGuessing
	}
	if err := l.inTime(ctx); err != nil {
		return err
	}
	shared := c.flight.DoChan(string(proof[:])+who.peer, func() (any, error) {
		// The others who share this must not fail because the first went away.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hashTimeout)
		defer cancel()
		return nil, c.hash(ctx, l, who, known, proof, kept, secret)
	})
	select {
	case r := <-shared:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hash is one check. A try counts as wrong until it proves right: many at once do
// not get past the limits.
func (c *clients) hash(ctx context.Context, l *lane, who pair, known bool, proof [32]byte, kept, secret string) error {
	now := time.Now()
	if c.limited(who, known, now) {
		return errGuessing
	}
	c.count(who, 1, now)
	defer c.waiting.leave(who.peer)
	if c.waiting.enter(who.peer) > maxOfPeer {
		c.count(who, -1, now)
		return errBusy
	}
	ok, err := c.hasher.verify(ctx, l, kept, secret)
	if err == nil && !ok {
		return errSecret
	}
	c.count(who, -1, now)
	if err != nil {
		return err
	}
	c.proven.add(proof, 1, now)
	c.familiar.add(who, 1, now)
	if err := c.store.Prove(ctx, c.hasher.place(who), now); err != nil {
		c.log.Warn("cannot keep that a client knew its secret: after a restart others may lock it out", "client", who.client, "error", err)
	}
	return nil
}

func (c *clients) count(who pair, n int, now time.Time) {
	c.pairs.add(who, n, now)
	c.ids.add(who.client, n, now)
	c.peers.add(who.peer, n, now)
}
