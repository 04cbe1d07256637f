package auth

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/auth/internal/jwt"
	"github.com/micro/go-platform/auth/internal/policy"
)

// verifier judges tokens and calls by what it was told last.
type verifier struct {
	service, id string // of this Auth
	shared      string // the audience of all, if there is one
	issuer      string
	now         func() time.Time
	cache       *jwt.Cache[*verified]
	state       atomic.Pointer[state] // nil while nothing is known
	mu          sync.Mutex            // of those who replace the state
	tally       *tally
}

// verified is a token that was good.
type verified struct {
	token  *Token
	call   policy.Call // what the token says of it
	client string      // the account that was given it
	claims marks
	key    *jwt.Key
	until  time.Time // its end and the leeway, by the monotonic clock
	// fits is the last generation of the state that had no objection. A state
	// of another looks again whether the key is trusted still and the token
	// not revoked, which costs little: the signature stays good.
	fits     atomic.Uint64
	outcomes atomic.Pointer[outcomes]
}

// marks are what a token is revoked by.
type marks struct {
	account, id, session string
	actors               []actor // who act for account, each alone
	issued               int64
}

// Ready returns why no token can be verified yet, for readiness checks.
func (v *verifier) Ready() error {
	if v.state.Load() == nil {
		return errUnknown
	}
	return nil
}

func newVerifier(o *Options) *verifier {
	return &verifier{service: o.Service, id: o.Id, shared: o.Audience, issuer: o.Issuer, now: o.now, tally: newTally(), cache: jwt.NewCache[*verified](cacheSize)}
}

var (
	errUnknown = fmt.Errorf("tokens cannot be verified yet: %w: no keys from %s", ErrUnavailable, ServiceName)
	errExpired = fmt.Errorf("%w: expired", ErrInvalidToken)
	errRevoked = fmt.Errorf("%w: revoked", ErrInvalidToken)
	errRotated = fmt.Errorf("%w: signed with a key that is trusted no longer", ErrInvalidToken)
)

// verify is Verify by what is known now.
func (v *verifier) verify(accessToken string, req Request) (*Token, error) {
	s, good, err := v.check(accessToken)
	if err != nil {
		return nil, err
	}
	if !v.isMeant(good, req) {
		return nil, v.other(req)
	}
	if !s.follows(req.Service()) {
		return nil, fmt.Errorf("decide a call of %.256q: %w: its rules are told to that service alone, ask Policy.Check", req.Service(), ErrUnavailable)
	}
	if d := v.decide(s, good, req); !d.Allowed {
		return nil, forbidden(good.call.Account, req, d.Reason)
	}
	return good.token, nil
}

// other returns the error of a token for another audience. It names the
// audience that was wanted, the only hint for a service that is registered
// under another name than its option Service.
func (v *verifier) other(req Request) error {
	name := v.service
	if aimed, ok := req.(Aimed); ok {
		name = aimed.Audience()
	}
	return fmt.Errorf("%w: for another audience than %.256q", ErrInvalidToken, name)
}

// isMeant reports whether the audience of a token fits req.
func (v *verifier) isMeant(good *verified, req Request) bool {
	audience := good.token.Audience
	if aimed, ok := req.(Aimed); ok {
		return v.isFor(audience, aimed.Audience(), req.Method())
	}
	// The service that req names counts only for a token that was given to this
	// service, which asks what the other side would say. Else a caller could
	// name any service.
	return v.isFor(audience, v.service, req.Method()) || v.id != "" && good.client == v.id && v.isFor(audience, req.Service(), req.Method())
}

// isFor reports whether a token for audience is good for a method at name, which is
// a service or a topic. A kv plugin beside a server of the rpc stack serves under
// the server's name with ".kv", behind the same wrappers: a token for that name is
// good for kv's own methods alone.
func (v *verifier) isFor(audience []string, name, method string) bool {
	for _, a := range audience {
		if a == name || v.shared != "" && a == v.shared {
			return true
		}
		if strings.HasPrefix(a, name) && a[len(name):] == ".kv" && strings.HasPrefix(method, "KV.") && !IsTopicAudience(a) {
			return true
		}
	}
	return false
}

// Holds implements Names.
func (v *verifier) Holds(t *Token, name string) error {
	if t == nil {
		return errNoToken
	}
	s := v.state.Load()
	if s == nil {
		return errUnknown
	}
	call := policy.Call{Account: t.Account(), Roles: strings.Fields(t.Metadata["roles"]), Scopes: t.Scopes, Service: name}
	if d := s.rules.Holds(&call); !d.Allowed {
		return fmt.Errorf("%w: %.128q may not hold the name %.256q: %s", ErrForbidden, call.Account, name, d.Reason)
	}
	return nil
}

func forbidden(account string, req Request, reason string) error {
	return fmt.Errorf("%w: %.128q may not call %.256q of %.256q: %s", ErrForbidden, account, req.Method(), req.Service(), reason)
}

// check returns what is known of a good token, and by which state it is good.
func (v *verifier) check(raw string) (*state, *verified, error) {
	s := v.state.Load()
	if s == nil {
		return nil, nil, errUnknown
	}
	good, ok := v.cache.Get(raw)
	if !ok {
		good, err := v.examine(s, raw)
		return s, good, err
	}
	if err := v.still(s, good); err != nil {
		v.cache.Remove(raw)
		return nil, nil, err
	}
	return s, good, nil
}

// still returns an error if a token with a good signature has expired, was
// revoked, or is of a key that s does not trust.
func (v *verifier) still(s *state, good *verified) error {
	if time.Now().After(good.until) {
		return errExpired
	}
	if good.fits.Load() == s.generation {
		return nil
	}
	if !good.key.Equal(s.keys.Get(good.key.ID)) {
		return errRotated
	}
	if s.revoked.has(good.claims) {
		return errRevoked
	}
	good.fits.Store(s.generation)
	return nil
}

func (v *verifier) examine(s *state, raw string) (*verified, error) {
	var c claims
	key, err := s.keys.Verify(raw, &c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	scopes := jwt.Fields(c.Scope)
	if err := c.check(scopes); err != nil {
		return nil, err
	}
	good := &verified{token: c.token(raw, scopes), key: key}
	good.call = policy.Call{Account: c.Subject, Roles: c.Roles, Scopes: scopes}
	good.client, good.claims = c.ClientID, c.marks()
	good.until = time.Now().Add(good.token.ExpiresAt.Sub(v.now()) + jwt.Leeway)
	if err := v.still(s, good); err != nil {
		return nil, err
	}
	v.cache.Put(raw, good)
	return good, nil
}

// isRevoked reports whether a token with these marks was revoked.
func (v *verifier) isRevoked(m marks) bool {
	s := v.state.Load()
	return s != nil && s.revoked.has(m)
}
