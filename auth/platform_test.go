package auth_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestOptionsAreNamed(t *testing.T) {
	for option, opts := range map[string][]auth.Option{
		"Id":           {auth.Id("a\nb"), auth.Secret("s")},
		"Secret":       {auth.Id("a")},
		"Audience":     {auth.Service("s"), auth.Audience("a\nb")},
		"Service":      {},
		"Scopes":       {auth.Service("s"), auth.Scopes("a b", "\x00")},
		"SnapshotFile": {auth.Service("s"), auth.SnapshotFile("relative")},
		"Issuer":       {auth.Service("s"), auth.Issuer(strings.Repeat("i", 257))},
	} {
		a := auth.NewAuth(opts...)
		if err := a.Start(); !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), "option "+option) {
			t.Errorf("%s: %v", option, err)
		}
		if err := a.Stop(); err != nil {
			t.Errorf("Stop after a failed Start: %v", err)
		}
	}
}

func TestOwnToken(t *testing.T) {
	w := newWorld(t).up()
	a := w.started(auth.Scopes("read"))
	first, err := a.Token()
	if err != nil {
		t.Fatal(err)
	}
	if first.TokenType != "Bearer" || len(first.Scopes) != 1 || time.Until(first.ExpiresAt) < time.Minute {
		t.Errorf("got %+v", first)
	}
	if again, err := a.Token(); err != nil || again != first {
		t.Errorf("not cached: %v", err)
	}
	if n := w.srv.calls.Load(); n != 1 {
		t.Errorf("%d requests for one token", n)
	}
}

func TestOwnTokenIsRefreshedEarly(t *testing.T) {
	w := newWorld(t)
	w.srv.lifetime = 10
	w.up()
	a := w.started()
	begun := time.Now()
	first, err := a.Token()
	if err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "another token", func() bool {
		next, err := a.Token()
		if err != nil {
			t.Fatalf("there was a gap: %v", err)
		}
		return next != first
	})
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("only after %v", took)
	}
}

func TestOneFlightAtATime(t *testing.T) {
	w := newWorld(t)
	w.srv.slow.Store(int64(200 * time.Millisecond))
	w.up()
	a := w.auth()
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, err := a.Token(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := w.srv.calls.Load(); n != 1 {
		t.Errorf("%d requests by 100 callers", n)
	}
}

func TestWorksBeforeItsServer(t *testing.T) {
	w := newWorld(t)
	a := w.auth()
	if _, err := a.Token(); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("which starts it: %v", err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Token(); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("without a server: %v", err)
	}
	if _, err := authorize(a, w.issuer.Token("a", nil)); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("a token that cannot be verified: %v", err)
	}
	w.up()
	rpctest.Eventually(t, "a token", func() bool { _, err := a.Token(); return err == nil })
	w.knows(a)
}

func TestTokenErrors(t *testing.T) {
	for code, want := range map[int32]error{429: auth.ErrLimited, 401: auth.ErrInvalidToken} {
		w := newWorld(t)
		w.srv.fail.Store(code)
		w.up()
		a := w.auth()
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Token(); !errors.Is(err, want) {
			t.Errorf("%d: %v", code, err)
		}
		begun := w.srv.calls.Load()
		for range 1000 {
			_, _ = a.Token() // as above
		}
		if n := w.srv.calls.Load() - begun; n > 2 {
			t.Errorf("%d: %d more requests", code, n)
		}
		w.srv.fail.Store(0)
		rpctest.Eventually(t, "it heals", func() bool { _, err := a.Token(); return err == nil })
	}
}

func TestAfterStop(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	token := w.issuer.Token("a", nil)
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Token(); !errors.Is(err, auth.ErrStopped) {
		t.Errorf("Token: %v", err)
	}
	if err := a.Start(); !errors.Is(err, auth.ErrStopped) {
		t.Errorf("Start: %v", err)
	}
	if _, err := authorize(a, token); err != nil {
		t.Errorf("Authorized: %v", err)
	}
}

// Warm checks make no calls: the server is gone, and tokens it made are good
// until they expire, unknown keys are not.
func TestIssuerDead(t *testing.T) {
	w := newWorld(t).up()
	w.srv.setRules(&pb.Rule{Id: "r", Effect: "allow", Accounts: []string{"a"}})
	a := w.started()
	seen, unseen := w.issuer.Token("a", nil), w.issuer.Token("a", nil)
	if _, err := authorize(a, seen); err != nil {
		t.Fatal(err)
	}
	w.stop()
	for name, token := range map[string]string{"seen before": seen, "not seen, of a known key": unseen} {
		if _, err := authorize(a, token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := authorize(a, w.issuer.Token("b", nil)); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("the rules are gone: %v", err)
	}
	w.issuer.Rotate(true)
	if _, err := authorize(a, w.issuer.Token("a", nil)); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("of an unknown key: %v", err)
	}
}

func TestRevocationIsPushed(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		claims map[string]any
		revoke *pb.Revocation
		spared map[string]any
	}{
		"token":   {map[string]any{"jti": "t1"}, &pb.Revocation{Jti: "t1"}, map[string]any{"jti": "t2"}},
		"family":  {map[string]any{"sid": "f1"}, &pb.Revocation{Sid: "f1"}, map[string]any{"sid": nil}},
		"account": {map[string]any{"iat": now - 5}, &pb.Revocation{Account: "acc", Before: now}, map[string]any{"iat": now}},
	} {
		t.Run(name, func(t *testing.T) {
			token, spared := w.issuer.Token("acc", c.claims), w.issuer.Token("acc", c.spared)
			for _, one := range []string{token, spared} {
				if _, err := authorize(a, one); err != nil {
					t.Fatal(err)
				}
			}
			c.revoke.ExpiresAt = now + 900
			w.srv.tell(&pb.WatchResponse{Revocations: []*pb.Revocation{c.revoke}})
			rpctest.Eventually(t, "revoked though cached", func() bool {
				_, err := authorize(a, token)
				return errors.Is(err, auth.ErrInvalidToken)
			})
			if _, err := authorize(a, spared); err != nil {
				t.Errorf("another token: %v", err)
			}
		})
	}
}

// Rules, keys and revocations change a hundred times while calls are decided:
// none that is always allowed is ever denied.
func TestNoWrongDenialWhileReloading(t *testing.T) {
	w := newWorld(t).up()
	always := &pb.Rule{Id: "always", Effect: "allow", Accounts: []string{"a"}, Priority: 9}
	w.srv.setRules(always)
	a := w.started()
	old := w.issuer.Token("a", nil)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := authorize(a, old); err != nil {
					t.Errorf("denied: %v", err)
					return
				}
				if _, err := authorize(a, w.issuer.Token("b", nil)); !errors.Is(err, auth.ErrForbidden) && !errors.Is(err, auth.ErrInvalidToken) {
					t.Errorf("b is in: %v", err)
					return
				}
			}
		})
	}
	for n := range 100 {
		w.srv.setRules(always, &pb.Rule{Id: "other", Effect: "deny", Priority: int64(n % 9)})
		if n%10 == 0 {
			w.issuer.Rotate(true)
			w.srv.tell(&pb.WatchResponse{Jwks: w.issuer.Keys()})
		}
	}
	w.srv.setRules(always, &pb.Rule{Id: "last", Effect: "allow", Accounts: []string{"c"}})
	rpctest.Eventually(t, "the last rule", func() bool {
		_, err := authorize(a, w.issuer.Token("c", nil))
		return err == nil
	})
	cancel()
	all.Wait()
}

func TestBadChangeIsRefusedAndTheOldStays(t *testing.T) {
	w := newWorld(t).up()
	w.srv.setRules(&pb.Rule{Id: "r", Effect: "allow", Accounts: []string{"a"}})
	a := w.started()
	for _, bad := range []*pb.WatchResponse{
		{Rules: &pb.Rules{Rules: []*pb.Rule{{Id: "x", Effect: "permit"}}}},
		{Jwks: []byte("{")},
		{Reset_: true, Rules: &pb.Rules{}},
		{Jwks: []byte(`{"keys":[]}`)},
	} {
		before := w.srv.watches.Load()
		w.srv.mu.Lock()
		rules := w.srv.rules
		w.srv.mu.Unlock()
		w.srv.tell(bad)
		w.srv.mu.Lock()
		w.srv.rules = rules
		w.srv.mu.Unlock()
		rpctest.Eventually(t, "it asks for everything again", func() bool { return w.srv.watches.Load() > before })
		if _, err := authorize(a, w.issuer.Token("a", nil)); err != nil {
			t.Errorf("%v: %v", bad, err)
		}
		if _, err := authorize(a, w.issuer.Token("b", nil)); !errors.Is(err, auth.ErrForbidden) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestKeyTakenOut(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	stolen := w.issuer.Token("a", nil)
	if _, err := authorize(a, stolen); err != nil {
		t.Fatal(err)
	}
	w.issuer.Rotate(false)
	w.srv.tell(&pb.WatchResponse{Jwks: w.issuer.Keys()})
	w.knows(a)
	if _, err := authorize(a, stolen); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("cached, of a key that is gone: %v", err)
	}
}

func TestRestartFromSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.snapshot")
	w := newWorld(t).up()
	w.srv.setRules(&pb.Rule{Id: "only-a", Effect: "allow", Accounts: []string{"a"}})
	first := w.started(auth.SnapshotFile(path))
	revoked := w.issuer.Token("a", map[string]any{"jti": "gone"})
	w.srv.tell(&pb.WatchResponse{Revocations: []*pb.Revocation{{Jti: "gone", ExpiresAt: time.Now().Unix() + 900}}})
	rpctest.Eventually(t, "revoked", func() bool { _, err := authorize(first, revoked); return err != nil })
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	w.stop()

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	second := w.auth(auth.SnapshotFile(path))
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := authorize(second, w.issuer.Token("a", nil)); err != nil {
		t.Errorf("good: %v", err)
	}
	if _, err := authorize(second, w.issuer.Token("b", nil)); !errors.Is(err, auth.ErrForbidden) || !strings.Contains(err.Error(), "no rule") {
		t.Errorf("against the rules: %v", err)
	}
	if _, err := authorize(second, revoked); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("revoked: %v", err)
	}
	if _, err := authorize(second, w.issuer.Token("a", map[string]any{"iss": "other"})); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("of another issuer: %v", err)
	}
}

func TestSnapshotOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.snapshot")
	w := newWorld(t).up()
	if err := w.started(auth.SnapshotFile(path)).Stop(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	start := func(data []byte, mode os.FileMode) (auth.Auth, error) {
		if err := errors.Join(os.WriteFile(path, data, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		a := w.auth(auth.SnapshotFile(path))
		return a, a.Start()
	}
	if _, err := start(good, 0o622); !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), "0600") {
		t.Errorf("writable by others: %v", err)
	}
	flipped := append([]byte{}, good...)
	flipped[len(flipped)-1] ^= 1
	for name, data := range map[string][]byte{"torn": good[:len(good)/2], "flipped": flipped, "empty": {}} {
		a, err := start(data, 0o600)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := authorize(a, w.issuer.Token("a", nil)); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s was used: %v", name, err)
		}
	}
}

func TestIntrospect(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	ctx := a.NewContext(context.Background(), &auth.Token{AccessToken: w.issuer.Token("a", nil)})
	if token, err := a.Introspect(ctx); err != nil || token.Account() != "a" {
		t.Fatalf("%v %v", token, err)
	}
	if _, err := a.Introspect(context.Background()); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("no token: %v", err)
	}
	w.srv.mu.Lock()
	w.srv.revoked = []*pb.Revocation{{Jti: "*"}}
	w.srv.mu.Unlock()
	if _, err := a.Introspect(ctx); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("the issuer knows better: %v", err)
	}
	w.stop()
	if token, err := a.Introspect(ctx); err != nil || token.Account() != "a" {
		t.Errorf("without the issuer: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	token := w.issuer.Token("a", nil)
	if err := a.Revoke(nil); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("nothing: %v", err)
	}
	if err := a.Revoke(&auth.Token{AccessToken: token}); err != nil { // the fake allows it to the token itself only
		t.Fatal(err)
	}
	if _, err := authorize(a, token); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("still good here: %v", err)
	}
}

func TestReservedMetadata(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	token, err := authorize(a, w.issuer.Token("real", map[string]any{
		"roles": []string{"x", "y"}, "scope": "read write", "act": map[string]any{"sub": "robot"},
		"meta":    map[string]string{"sub": "forged", "roles": "admin", "iss": "forged", "team": "shop", "request.team": "forged", "act": "forged"},
		"request": map[string]string{"sub": "forged", "team": "asked"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]string{
		"sub": "real", "roles": "x y", "type": "service", "client_id": "real", "team": "shop", "request.team": "asked", "request.sub": "forged", "act": "robot",
	} {
		if got := token.Metadata[k]; got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
	if token.Account() != "real" || len(token.Scopes) != 2 {
		t.Errorf("got %+v", token)
	}
	plain, err := authorize(a, w.issuer.Token("real", map[string]any{"meta": map[string]string{"act": "forged"}}))
	if err != nil || plain.Metadata["act"] != "" {
		t.Errorf("act of an account's own making: %v %v", plain, err)
	}
}
