package oauth2_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/guard"
	"github.com/micro/go-platform/auth/oauth2"
	"github.com/micro/go-platform/internal/rpctest"
)

// ended is what a guard asks with while it must not wait.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func (p *idp) old(a auth.Verifier, t *testing.T) {
	t.Helper()
	rpctest.Eventually(t, "the answer is old", func() bool {
		_, err := a.Verify(ended(t), "opaque", request{})
		return err != nil
	})
}

// A guard asks with a context that has ended, which tells nothing about a
// token: neither an answer nor the age of the last one.
func TestAnEndedContextKeepsNoAnswer(t *testing.T) {
	p := newIDP(t)
	a := p.auth(t, oauth2.Introspection(time.Second))
	if _, err := a.Verify(t.Context(), "opaque", request{}); err != nil {
		t.Fatal(err)
	}
	p.active.Store(false)
	p.old(a, t)
	for range 3 {
		if _, err := a.Verify(ended(t), "opaque", request{}); !errors.Is(err, context.Canceled) && !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("asked again by one who must not wait: %v", err)
		}
	}
	if _, err := a.Verify(t.Context(), "opaque", request{}); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("a token that the provider ended: %v", err)
	}
}

// Behind a guard a revocation is heard of after the time of Introspection.
func TestIntrospectionBehindAGuard(t *testing.T) {
	p := newIDP(t)
	a := p.auth(t, oauth2.Introspection(time.Second))
	judge := guard.JudgeOf(a)
	call := func() error {
		_, err := judge(ended(t), "Svc.Call", "opaque")
		if errors.Is(err, context.Canceled) || errors.Is(err, auth.ErrUnavailable) { // as the guard does
			_, err = judge(t.Context(), "Svc.Call", "opaque")
		}
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	p.active.Store(false)
	rpctest.Eventually(t, "it is refused", func() bool { return errors.Is(call(), auth.ErrInvalidToken) })
}

// Who must not wait for the provider's keys does not.
func TestAnEndedContextWaitsForNothing(t *testing.T) {
	p := newIDP(t)
	end := p.hang(t)
	a := p.auth(t)
	token := p.token(nil)
	begun := time.Now()
	for range 100 {
		if _, err := a.Verify(ended(t), token, request{}); !errors.Is(err, auth.ErrUnavailable) {
			t.Fatalf("no keys yet: %v", err)
		}
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("it waited for %v", took)
	}
	done := make(chan error, 1)
	go func() { _, err := a.Verify(t.Context(), token, request{}); done <- err }()
	end()
	if err := <-done; err != nil {
		t.Errorf("who may wait: %v", err)
	}
}

// A provider that hangs holds nobody up whom it knew, and what it says in the
// end counts.
func TestAProviderThatHangs(t *testing.T) {
	p := newIDP(t)
	a := p.auth(t, oauth2.Introspection(time.Second))
	if _, err := a.Verify(t.Context(), "opaque", request{}); err != nil {
		t.Fatal(err)
	}
	p.old(a, t)
	end := p.hang(t)
	asked := p.asked.Load()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			if _, err := a.Verify(ctx, "opaque", request{}); err != nil {
				t.Errorf("known, while the provider hangs: %v", err)
			}
		})
	}
	all.Wait()
	if n := p.asked.Load() - asked; n != 1 {
		t.Errorf("asked %d times for 20 callers", n)
	}
	p.active.Store(false)
	end()
	rpctest.Eventually(t, "the late answer counts", func() bool {
		_, err := a.Verify(t.Context(), "opaque", request{})
		return errors.Is(err, auth.ErrInvalidToken)
	})
}

// Strangers who have many tokens asked about do not keep one that was revoked
// from being asked about.
func TestAFloodOfUnknownTokensProlongsNothing(t *testing.T) {
	p := newIDP(t)
	a := p.auth(t, oauth2.Introspection(time.Second))
	if _, err := a.Verify(t.Context(), "opaque", request{}); err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	p.says = func(token string) map[string]any {
		if token != "opaque" {
			<-end
		}
		return map[string]any{"active": false}
	}
	asked := p.asked.Load()
	var flood sync.WaitGroup
	for i := range 16 {
		flood.Go(func() {
			if _, err := a.Verify(t.Context(), fmt.Sprint("made-up-", i), request{}); err == nil {
				t.Error("let in")
			}
		})
	}
	rpctest.Eventually(t, "all turns are taken", func() bool { return p.asked.Load() >= asked+16 })
	rpctest.Eventually(t, "it is refused beside the flood", func() bool {
		_, err := a.Verify(t.Context(), "opaque", request{})
		return errors.Is(err, auth.ErrInvalidToken)
	})
	close(end)
	flood.Wait()
}

// An answer need not repeat the audience and the end of a token that says both
// itself.
func TestWhatATokenSaysCountsBesideTheAnswer(t *testing.T) {
	p := newIDP(t)
	p.says = func(string) map[string]any { return map[string]any{"active": true, "sub": "ann", "client_id": "app"} }
	a := p.auth(t, oauth2.Introspection(time.Second), oauth2.Resource("resource", func(service string) string { return service }))
	mine, other := p.token(nil), p.token(map[string]any{"aud": "other"})
	got, err := a.Verify(t.Context(), mine, request{})
	if err != nil || time.Until(got.ExpiresAt) > time.Hour {
		t.Errorf("a token for this service: %+v, %v", got, err)
	}
	if _, err := a.Verify(t.Context(), other, request{}); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("a token for another service: %v", err)
	}
	if _, err := a.Verify(t.Context(), "opaque", request{}); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("a token of which nobody says for whom it is: %v", err)
	}
}

// Every public call starts the plugin, as Start does.
func TestTheFirstCallStarts(t *testing.T) {
	p := newIDP(t)
	fresh := func() *oauth2.Auth {
		a := oauth2.NewAuth(auth.Issuer(p.URL), auth.Audience("api"), auth.Id("svc"), auth.Secret("s3cret"), oauth2.HTTPClient(client(t)),
			oauth2.Resource("resource", func(service string) string { return service }))
		t.Cleanup(func() {
			if err := a.Stop(); err != nil {
				t.Error(err)
			}
		})
		return a
	}
	token := &auth.Token{AccessToken: p.token(nil)}
	if _, err := fresh().Exchange(t.Context(), token, "other"); errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("Exchange: %v", err)
	}
	p.meta["revocation_endpoint"] = p.URL + "/revoke"
	if err := fresh().Revoke(token); err == nil || !errors.Is(err, auth.ErrUnavailable) || errors.Is(err, auth.ErrStopped) {
		t.Errorf("Revoke: %v", err) // the provider has no such page
	}
}
