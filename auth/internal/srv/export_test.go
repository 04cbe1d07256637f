package srv

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/sqlstore"
)

// Grace sets how long an old refresh token may be presented again.
func Grace(c *Config, d time.Duration) { c.grace = d }

// Share sets how often instances tell each other of decisions.
func Share(c *Config, d time.Duration) { c.share = d }

// ReadTimeout bounds how long the HTTP face reads a request.
func ReadTimeout(c *Config, d time.Duration) { c.readTimeout = d }

type request struct {
	server.Request
	method string
}

func (r request) Endpoint() string { return r.method }
func (r request) Method() string   { return r.method }

// Guard calls a method of a started service and reports whether the call passed
// its guard.
func Guard(ctx context.Context, t testing.TB, s daemon.Service, method string) (passed bool, err error) {
	t.Helper()
	wrap := s.Issuer().Authenticate
	err = wrap(func(context.Context, server.Request, any) error { passed = true; return nil })(ctx, request{method: method}, nil)
	return passed, err
}

// Follower is another instance on a database, without faces.
type Follower struct {
	feed *feed
	was  *snapshot
}

// openBeside opens a database that a service, or another test's store, may have open.
func openBeside(t testing.TB, url string) *sqlStore {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), url, sqlstore.Schema{Service: "auth", Migrations: migrations})
	if errors.Is(err, sqlstore.ErrInUse) {
		db, err = sqlstore.Open(t.Context(), url, sqlstore.Schema{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // the test is over
	return &sqlStore{db}
}

// Follow begins to follow a database.
func Follow(t testing.TB, url, issuer string) *Follower {
	t.Helper()
	f, err := newFeed(t.Context(), openBeside(t, url), slog.Default(), issuer, rotation{DefaultKeyRotation, DefaultTokenLifetime})
	if err != nil {
		t.Fatal(err)
	}
	return &Follower{f, f.now.Load()}
}

// Difference is what a watcher is sent that knows what Follow found.
func (f *Follower) Difference(t testing.TB) *pb.WatchResponse {
	t.Helper()
	if err := f.feed.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f.feed.now.Load().message(f.was, wants{})
}

// Tokens returns one good token of the admin and many bad ones that are nearly
// like it.
func (f *Follower) Tokens(t testing.TB) (good string, bad map[string]string) {
	t.Helper()
	keys := f.feed.now.Load().keys
	k, err := keys.current(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	base := func(change func(map[string]any)) map[string]any {
		c := map[string]any{
			"iss": f.feed.issuer, "sub": AdminID, "aud": []string{auth.ServiceName}, "client_id": AdminID, "exp": now() + 60, "iat": now(), "nbf": now(),
			"jti": uuid.NewString(), "scope": ScopeAdmin, "type": "user",
		}
		change(c)
		return c
	}
	sign := func(alg jose.SignatureAlgorithm, key any, head map[jose.HeaderKey]any, claims any) string {
		o := (&jose.SignerOptions{}).WithType(tokenType)
		for h, v := range head {
			o = o.WithHeader(h, v)
		}
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := jwt.Signed(s).Claims(claims).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	ours := jose.JSONWebKey{Key: k.pair, KeyID: k.kid}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	none := func(map[string]any) {}
	bad = map[string]string{}
	for name, change := range map[string]func(map[string]any){
		"expired":           func(c map[string]any) { c["exp"] = now() - 61 },
		"no exp":            func(c map[string]any) { delete(c, "exp") },
		"not valid yet":     func(c map[string]any) { c["nbf"] = now() + 3600 },
		"another issuer":    func(c map[string]any) { c["iss"] = "https://evil.example" },
		"no issuer":         func(c map[string]any) { delete(c, "iss") },
		"no audience":       func(c map[string]any) { delete(c, "aud") },
		"empty audience":    func(c map[string]any) { c["aud"] = []string{} },
		"for others":        func(c map[string]any) { c["aud"] = []string{"shop"} },
		"no subject":        func(c map[string]any) { delete(c, "sub") },
		"no jti":            func(c map[string]any) { delete(c, "jti") },
		"exp of wrong type": func(c map[string]any) { c["exp"] = "tomorrow" },
	} {
		bad[name] = sign(jose.EdDSA, ours, nil, base(change))
	}
	public := k.pair.Public().(ed25519.PublicKey)
	bad["another key under our kid"] = sign(jose.EdDSA, jose.JSONWebKey{Key: stranger, KeyID: k.kid}, nil, base(none))
	bad["unknown kid"] = sign(jose.EdDSA, jose.JSONWebKey{Key: k.pair, KeyID: "../../etc/passwd"}, nil, base(none))
	bad["no kid"] = sign(jose.EdDSA, k.pair, nil, base(none))
	bad["key of its own (jwk)"] = sign(jose.EdDSA, jose.JSONWebKey{Key: stranger, KeyID: "x"}, map[jose.HeaderKey]any{"jwk": map[string]any{"kty": "OKP"}}, base(none))
	bad["key elsewhere (jku)"] = sign(jose.EdDSA, jose.JSONWebKey{Key: stranger, KeyID: "x"}, map[jose.HeaderKey]any{"jku": "http://127.0.0.1:1/jwks"}, base(none))
	bad["public key as HMAC secret"] = sign(jose.HS256, jose.JSONWebKey{Key: []byte(public), KeyID: k.kid}, nil, base(none))
	bad["id token"], err = keys.sign(time.Now(), "JWT", base(none))
	if err != nil {
		t.Fatal(err)
	}
	good = sign(jose.EdDSA, ours, nil, base(none))
	parts := strings.Split(good, ".")
	for _, alg := range []string{"none", "NONE", "nOnE", ""} {
		head, _ := json.Marshal(map[string]string{"alg": alg, "typ": tokenType, "kid": k.kid}) // a map of strings
		bad["alg "+alg] = base64.RawURLEncoding.EncodeToString(head) + "." + parts[1] + "."
	}
	twice := `{"sub":"x","sub":"admin",` + string(mustDecode(t, parts[1]))[1:]
	input := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(twice))
	bad["claim twice"] = input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(k.pair, []byte(input)))
	return good, bad
}

func mustDecode(t testing.TB, s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// KID returns the key id in a token's header.
func KID(t testing.TB, token string) string {
	var h struct {
		KID string `json:"kid"`
	}
	if err := json.Unmarshal(mustDecode(t, strings.SplitN(token, ".", 2)[0]), &h); err != nil {
		t.Fatal(err)
	}
	return h.KID
}

// Checker checks clients' secrets, beside which nothing runs.
type Checker struct{ clients *clients }

// NewChecker knows one client, whose secret is "the secret".
func NewChecker(t testing.TB, id string) *Checker {
	t.Helper()
	return NewCheckerOn(t, "sqlite::memory:", id)
}

// NewCheckerOn is NewChecker on a database. A second one finds what the first knew
// when it ended.
func NewCheckerOn(t testing.TB, url, id string) *Checker {
	t.Helper()
	hasher := newHasher()
	hasher.key = []byte("a key of tests")
	c := &Checker{newClients(openBeside(t, url), hasher, slog.Default())}
	a, _, err := newAccount(t.Context(), hasher, &pb.Record{Id: id, ClientId: id, Type: "service", ClientSecret: "the secret"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.clients.store.CreateAccount(t.Context(), a); err != nil && !errors.Is(err, rpcerr.ErrExists) {
		t.Fatal(err)
	}
	return c
}

// Check checks a secret.
func (c *Checker) Check(ctx context.Context, peer, id, secret string) error {
	_, err := c.clients.check(ctx, peer, id, secret)
	return err
}

// Guessed is as many wrong secrets, without their hashes.
func (c *Checker) Guessed(peer, id string, n int) {
	c.clients.count(pair{id, peer}, n, time.Now())
}

// Forget makes the next check a hash.
func (c *Checker) Forget() { c.clients.proven = newRecent[[32]byte](provenTTL, maxRemembered) }

// Measure times checks of the known client, each with a hash.
func (c *Checker) Measure(t testing.TB, n int) []time.Duration {
	t.Helper()
	var took []time.Duration
	who := pair{"normal", "10.9.9.9"}
	if err := c.Check(t.Context(), who.peer, who.client, "the secret"); err != nil {
		t.Fatal(err)
	}
	a, err := c.clients.store.AccountOfClient(t.Context(), who.client)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		began := time.Now()
		if err := c.clients.prove(t.Context(), who, [32]byte{byte(i)}, a.secret, "the secret"); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	return took
}

// unsure is a Store whose Begin has done its work, or not, and returns an error.
type unsure struct {
	Store
	begins bool
	away   bool // then there is no answer afterwards either
	asked  int
}

func (u *unsure) Begin(ctx context.Context, admin *account, settings map[string]string, rules []*pb.Rule) error {
	if u.begins {
		if err := u.Store.Begin(ctx, admin, settings, rules); err != nil {
			return err
		}
	}
	return rpcerr.ErrUnavailable
}

func (u *unsure) Setting(ctx context.Context, name string) (string, error) {
	if u.asked++; u.asked > 1 && u.away {
		return "", rpcerr.ErrUnavailable
	}
	return u.Store.Setting(ctx, name)
}

// BeginUnsure is a first start whose database gives no answer.
func BeginUnsure(t testing.TB, dir string, begins, away bool) error {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), "sqlite::memory:", sqlstore.Schema{Service: "auth", Migrations: migrations})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // the test is over
	return first{dir: dir}.begin(t.Context(), &unsure{Store: &sqlStore{db}, begins: begins, away: away}, newHasher())
}

// Digest is what nobody may find in the database.
func Digest(secret string) string { return digest(secret) }

// FaultOfRedirect tells what is wrong with a redirect URI.
func FaultOfRedirect(text string) string { return faultOfRedirect(text) }
