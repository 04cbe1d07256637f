package auth

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
)

// state is all that decisions are made by: immutable, replaced as a whole, so
// that none is made by rules of one moment and keys of another.
type state struct {
	generation uint64
	issuer     string
	keys       *jwt.Keys
	jwks       []byte
	rules      *policy.Set
	services   []string // those that the rules are about; none: all
	position   string   // of the rules at their server, "" if it has none
	revoked    *revocations
	changed    chan struct{} // closed when there is a newer one
}

var errNothing = errors.New("nothing to begin with: no key set")

// apply replaces the state by one that knows the change, or leaves it as it is
// and returns an error.
func (v *verifier) apply(change *pb.WatchResponse) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.state.Load()
	if old == nil && !change.Reset_ {
		return errNothing
	}
	made := &state{generation: 1}
	if old != nil {
		*made = *old
		made.generation++
	}
	if change.Reset_ {
		*made = state{generation: made.generation, revoked: &revocations{}}
	}
	made.changed = make(chan struct{})
	if err := v.fill(made, change); err != nil {
		return err
	}
	v.state.Store(made)
	if old != nil {
		close(old.changed)
	}
	return nil
}

// Changed implements Changing. While nothing is known there is no token to
// refuse.
func (v *verifier) Changed() <-chan struct{} {
	if s := v.state.Load(); s != nil {
		return s.changed
	}
	return nil
}

func (v *verifier) fill(made *state, change *pb.WatchResponse) (err error) {
	if change.Issuer != "" {
		made.issuer = change.Issuer
	}
	if len(change.Jwks) > 0 {
		made.jwks = change.Jwks
		if made.keys, err = jwt.ParseKeys(made.jwks, v.expect(made.issuer)); err != nil {
			return err
		}
	}
	if made.keys == nil || made.keys.Len() == 0 {
		return errNothing
	}
	if err := made.fillRules(change); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	if len(change.Revocations) > 0 {
		made.revoked = made.revoked.with(change.Revocations, v.now())
	}
	return nil
}

// fillRules takes over rules, or their difference to those of now.
func (s *state) fillRules(change *pb.WatchResponse) (err error) {
	switch {
	case s.rules == nil || change.Rules != nil:
		if s.rules, err = policy.Compile(change.Rules.GetRules()); err == nil {
			s.rules = s.rules.Closed(change.Rules.GetClosed())
		}
		s.services, s.position = change.Rules.GetServices(), change.Position
	case change.Changes != nil:
		if s.rules, err = s.rules.With(change.Changes.Put, change.Changes.Remove); err == nil {
			s.rules = s.rules.Closed(change.Changes.Closed)
		}
		s.position = change.Position
	}
	return err
}

func (v *verifier) expect(issuer string) *jwt.Expect {
	if v.issuer != "" {
		issuer = v.issuer
	}
	return &jwt.Expect{
		Issuer: issuer, AnyAudience: true, MaxLifetime: MaxLifetime, Now: v.now,
		Types: []string{"at+jwt", "application/at+jwt"}, Algs: []string{jwt.EdDSA, jwt.ES256},
	}
}

// forget refuses a good token from now on, before the issuer has told.
func (v *verifier) forget(raw string) {
	_, good, err := v.check(raw)
	if err != nil {
		return
	}
	r := &pb.Revocation{Jti: good.claims.id, ExpiresAt: good.token.ExpiresAt.Unix()}
	_ = v.apply(&pb.WatchResponse{Revocations: []*pb.Revocation{r}}) // nothing in it can be wrong
}

// follows reports whether the rules about a service are known: the issuer sends
// each service only its own.
func (s *state) follows(service string) bool {
	return len(s.services) == 0 || slices.Contains(s.services, service)
}

// export is the state as a watcher would get it first.
func (s *state) export() *pb.WatchResponse {
	return &pb.WatchResponse{
		Reset_: true, Issuer: s.issuer, Jwks: s.jwks, Revocations: s.revoked.list, Position: s.position,
		Rules: &pb.Rules{Rules: s.rules.All(), Services: s.services, Closed: !s.rules.IsOpen()},
	}
}

// revocations is an immutable set.
type revocations struct {
	list     []*pb.Revocation
	ids      map[string]struct{}
	sessions map[string]struct{}
	accounts map[string]int64 // issued before
}

// keepFor is how long a revocation outlives the last token it may hit: clocks
// that jump back bring such tokens to life again.
const keepFor = 2 * time.Hour

// with returns a set that has more, and no longer what is over.
func (r *revocations) with(more []*pb.Revocation, now time.Time) *revocations {
	made := &revocations{ids: map[string]struct{}{}, sessions: map[string]struct{}{}, accounts: map[string]int64{}}
	over := now.Add(-keepFor).Unix()
	type key struct {
		jti, sid, account string
		before            int64
	}
	seen := map[key]bool{} // a stream that begins again tells all
	for _, list := range [][]*pb.Revocation{r.list, more} {
		for _, one := range list {
			if one == nil || one.ExpiresAt != 0 && one.ExpiresAt < over {
				continue
			}
			k := key{one.Jti, one.Sid, one.Account, one.Before}
			if seen[k] {
				continue
			}
			seen[k] = true
			made.list = append(made.list, one)
			if one.Jti != "" {
				made.ids[one.Jti] = struct{}{}
			}
			if one.Sid != "" {
				made.sessions[one.Sid] = struct{}{}
			}
			if one.Account != "" {
				made.accounts[one.Account] = max(made.accounts[one.Account], one.Before)
			}
		}
	}
	return made
}

func (r *revocations) has(m marks) bool {
	if _, ok := r.ids[m.id]; ok {
		return true
	}
	if _, ok := r.sessions[m.session]; ok && m.session != "" {
		return true
	}
	ended := func(a actor) bool { return a.Since < r.accounts[a.Subject] }
	return ended(actor{Subject: m.account, Since: m.issued}) || slices.ContainsFunc(m.actors, ended)
}
