package srv_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/sqlstore"
)

// services makes accounts and lets auth-srv make their secrets.
func (e *env) services(n int) []*pb.Record {
	e.Helper()
	all, admin := make([]*pb.Record, n), e.admin()
	for i := range all {
		rsp, err := e.account.Create(admin, &pb.CreateRequest{Account: &pb.Record{Id: fmt.Sprint("service-", i), Type: "service"}}, e.here()...)
		if err != nil {
			e.Fatal(err)
		}
		all[i] = rsp.Account
	}
	return all
}

// 500 services that start at once, from one address, have their tokens: no secret
// that was made here waits for a hash or meets a limit, whatever was guessed
// before.
func TestColdStart(t *testing.T) {
	e := start(t)
	all := e.services(500)
	guess := func(id string) error {
		_, err := e.oauth.Token(e.as(""), &pb.TokenRequest{GrantType: "client_credentials", ClientId: id, ClientSecret: "a wrong secret"}, e.here()...)
		return err
	}
	for range 200 { // more than the limits of a peer and of a client
		if err := guess(all[0].ClientId); code(err) != 401 {
			t.Fatalf("a wrong secret: %v", err)
		}
	}
	var wg sync.WaitGroup
	begun := time.Now()
	for _, a := range all {
		wg.Go(func() {
			if _, err := e.oauth.Token(e.as(""), &pb.TokenRequest{GrantType: "client_credentials", ClientId: a.ClientId, ClientSecret: a.ClientSecret}, e.here()...); err != nil {
				t.Errorf("%s: %v", a.Id, err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d services have their tokens after %v", len(all), time.Since(begun))
	disabled := &pb.Record{Id: all[0].Id, Disabled: true}
	if _, err := e.account.Update(e.admin(), &pb.UpdateRequest{Account: disabled, Fields: []string{"disabled"}}, e.here()...); err != nil {
		t.Fatal(err)
	}
	if _, err := e.oauth.Token(e.as(""), &pb.TokenRequest{GrantType: "client_credentials", ClientId: all[0].ClientId, ClientSecret: all[0].ClientSecret}, e.here()...); code(err) != 401 {
		t.Errorf("of a disabled account: %v", err)
	}
}

// Attack: reading the database. A secret is in it neither as it is nor as a digest
// that could be computed without the server's key.
func TestMadeSecretsAreKeyed(t *testing.T) {
	url := "sqlite://" + filepath.Join(t.TempDir(), "auth.db")
	e := start(t, on(url))
	made := e.services(1)[0]
	db, err := sqlstore.Open(t.Context(), url, sqlstore.Schema{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // it was only read
	var kept, admins string
	for id, to := range map[string]*string{made.Id: &kept, authsrv.AdminID: &admins} {
		if err := db.QueryRowContext(t.Context(), `SELECT secret FROM accounts WHERE id = ?`, id).Scan(to); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(kept, "$hmac-sha256$") || strings.Contains(kept, authsrv.Digest(made.ClientSecret)) {
		t.Errorf("of a secret that was made: %s", kept)
	}
	if !strings.HasPrefix(admins, "$argon2id$") {
		t.Errorf("of a secret that was chosen: %s", admins)
	}
}

// guessesOfOthers is more than a stranger has at one address.
const guessesOfOthers = 12

// Attack: guessing at the address of a client, which a NAT, a node or a sidecar
// shares. The client, whose secret was proven, does not notice.
func TestGuessesAtTheSameAddress(t *testing.T) {
	checker := authsrv.NewChecker(t, "normal")
	check := func(secret string) error { return checker.Check(t.Context(), "10.1.0.1", "normal", secret) }
	if err := check("the secret"); err != nil {
		t.Fatal(err)
	}
	for range guessesOfOthers {
		if err := check("wrong"); !errors.Is(err, rpcerr.ErrUnauthenticated) {
			t.Fatalf("a wrong secret: %v", err)
		}
	}
	checker.Guessed("10.1.0.1", "normal", 100)
	if err := check("wrong"); !errors.Is(err, rpcerr.ErrLimited) {
		t.Errorf("guesses are not limited: %v", err)
	}
	if err := check("the secret"); err != nil {
		t.Errorf("the client is locked out: %v", err)
	}
}

// Attack: guessing from elsewhere, after a restart. Where a client knew its secret
// it is counted apart.
func TestGuessesFromElsewhereAfterARestart(t *testing.T) {
	url := "sqlite://" + filepath.Join(t.TempDir(), "auth.db")
	if err := authsrv.NewCheckerOn(t, url, "normal").Check(t.Context(), "10.1.0.1", "normal", "the secret"); err != nil {
		t.Fatal(err)
	}
	checker := authsrv.NewCheckerOn(t, url, "normal")
	for i := range 110 {
		checker.Guessed(fmt.Sprint("10.2.0.", i), "normal", 1)
	}
	if err := checker.Check(t.Context(), "10.2.1.1", "normal", "the secret"); !errors.Is(err, rpcerr.ErrLimited) {
		t.Errorf("guesses are not limited: %v", err)
	}
	if err := checker.Check(t.Context(), "10.1.0.1", "normal", "the secret"); err != nil {
		t.Errorf("the client is locked out: %v", err)
	}
}

// impatient is a context whose deadline is near and has not come.
type impatient struct {
	context.Context
	deadline time.Time
}

func (c impatient) Deadline() (time.Time, bool) { return c.deadline, true }

// Who has no time to wait for its turn is told so at once.
func TestDeadlinesAreKnownToTheQueue(t *testing.T) {
	checker := authsrv.NewChecker(t, "normal")
	if err := checker.Check(t.Context(), "10.1.0.1", "other", "wrong"); !errors.Is(err, rpcerr.ErrUnauthenticated) { // now it knows what one takes
		t.Fatal(err)
	}
	for left, want := range map[time.Duration]error{time.Microsecond: rpcerr.ErrLimited, time.Hour: rpcerr.ErrUnauthenticated} {
		ctx := impatient{t.Context(), time.Now().Add(left)}
		if err := checker.Check(ctx, "10.1.0.2", "other", "wrong"); !errors.Is(err, want) {
			t.Errorf("%v left: %v, want %v", left, err, want)
		}
	}
}
