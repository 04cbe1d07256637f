package srv_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// watcher collects what a stream says.
type watcher struct {
	mu   sync.Mutex
	got  []*pb.WatchResponse
	done chan error
}

func (e *env) watch(ctx context.Context) *watcher {
	e.Helper()
	stream, err := e.policy.Watch(ctx, &pb.WatchRequest{}, e.here()...)
	if err != nil {
		e.Fatal(err)
	}
	w := &watcher{done: make(chan error, 1)}
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				w.done <- err
				_ = stream.Close() // it only says that the stream is over
				return
			}
			w.mu.Lock()
			w.got = append(w.got, m)
			w.mu.Unlock()
		}
	}()
	return w
}

// saw waits for a message and fails when it took longer than a change may.
func (w *watcher) saw(t testing.TB, what string, ok func(*pb.WatchResponse) bool) {
	t.Helper()
	began := time.Now()
	rpctest.Eventually(t, what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, m := range w.got {
			if ok(m) {
				return true
			}
		}
		return false
	})
	took := time.Since(began)
	t.Logf("%s: after %v", what, took.Round(time.Millisecond))
	if took > 20*time.Second { // a busy machine, and a busy disk
		t.Errorf("%s took %v", what, took)
	}
}

func TestWatch(t *testing.T) {
	e := start(t)
	e.people()
	if _, err := e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Rule: &pb.Rule{Id: "before", Effect: "allow"}}); err != nil {
		t.Fatal(err)
	}
	ann := e.token("ann", secretOf("ann"))
	ctx, cancel := context.WithCancel(e.as(e.token("orders", secretOf("orders"))))
	w := e.watch(ctx)
	w.saw(t, "the first message", func(m *pb.WatchResponse) bool {
		return m.Reset_ && len(m.Jwks) > 0 && len(ids(m.Rules)) == 1 && m.Issuer == e.url && m.Revision > 0
	})
	if _, err := e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Rule: &pb.Rule{Id: "after", Effect: "deny"}, Force: true}); err != nil {
		t.Fatal(err)
	}
	w.saw(t, "a rule", func(m *pb.WatchResponse) bool { return !m.Reset_ && len(ids(m.Rules)) == 2 && len(m.Jwks) == 0 })
	jti := payload(t, ann)["jti"].(string)
	if _, err := e.oauth.Revoke(e.as(ann), &pb.RevokeRequest{AccessToken: ann}); err != nil {
		t.Fatal(err)
	}
	w.saw(t, "a revocation", func(m *pb.WatchResponse) bool {
		return len(m.Revocations) > 0 && m.Revocations[0].Jti == jti && m.Revocations[0].ExpiresAt > time.Now().Unix()+600 && m.Rules == nil
	})
	if _, err := e.account.Delete(e.admin(), &pb.DeleteRequest{Id: "ann"}); err != nil {
		t.Fatal(err)
	}
	w.saw(t, "an account", func(m *pb.WatchResponse) bool {
		return len(m.Revocations) > 0 && m.Revocations[0].Account == "ann" && m.Revocations[0].Before >= time.Now().Unix()-5
	})
	for _, rule := range []string{"before", "after"} {
		if _, err := e.policy.Delete(e.admin(), &pb.PolicyDeleteRequest{Id: rule}); err != nil {
			t.Fatal(err)
		}
	}
	w.saw(t, "no rules", func(m *pb.WatchResponse) bool { return m.Rules != nil && len(ids(m.Rules)) == 0 })
	cancel()
	<-w.done
	watchUntilStop(t, e)
}

// watchUntilStop watches from the beginning until the service stops.
func watchUntilStop(t *testing.T, e *env) {
	t.Helper()
	again := e.watch(e.admin())
	again.saw(t, "everything again", func(m *pb.WatchResponse) bool { return m.Reset_ && len(m.Revocations) >= 3 })
	if err := e.running.Stop(); err != nil {
		t.Error(err)
	}
	select {
	case <-again.done:
	case <-time.After(time.Minute):
		t.Error("the stream outlives the service")
	}
}

// A watcher that does not read for long gets the difference, once, and costs no
// memory meanwhile.
func TestSlowWatcher(t *testing.T) {
	url := "sqlite://" + filepath.Join(t.TempDir(), "auth.db")
	e := start(t, on(url))
	follower := authsrv.Follow(t, url, e.url)
	for i := range 50 {
		for range 2 {
			if _, err := e.policy.Create(e.admin(), &pb.PolicyCreateRequest{Rule: &pb.Rule{Id: fmt.Sprint("r", i), Effect: "allow"}}); err != nil && code(err) != 409 {
				t.Fatal(err)
			}
		}
	}
	m := follower.Difference(t)
	if m.Reset_ || len(ids(m.Rules)) != 50 {
		t.Errorf("difference %v", m)
	}
}

// 1 000 watchers that lost their server are all back within 30 s.
func TestWatchersReconnect(t *testing.T) {
	const watchers = 1000
	e := start(t)
	ctx, cancel := context.WithCancel(e.as(e.token(authsrv.AdminID, adminSecret)))
	began := time.Now()
	var all []*watcher
	for range watchers {
		all = append(all, e.watch(ctx))
	}
	for _, w := range all {
		w.saw(t, "the first message", func(m *pb.WatchResponse) bool { return m.Reset_ })
	}
	took := time.Since(began)
	t.Logf("%d watchers back after %v", watchers, took)
	if took > 2*time.Minute {
		t.Errorf("%d watchers took %v", watchers, took)
	}
	cancel()
	for _, w := range all {
		<-w.done
	}
}

// While keys rotate no token is refused by anybody who follows the feed.
func TestRotation(t *testing.T) {
	e := start(t, func(c *authsrv.Config, _ *daemon.Config) { c.KeyRotation = time.Second })
	admin := e.token(authsrv.AdminID, adminSecret)
	kids := map[string]bool{}
	for began := time.Now(); time.Since(began) < 4*time.Second || len(kids) < 3 && time.Since(began) < time.Minute; {
		token := e.token(authsrv.AdminID, adminSecret)
		kids[strings.SplitN(token, ".", 2)[0]] = true
		for _, good := range []string{token, admin} {
			if _, err := e.oauth.Keys(e.as(good), &pb.KeysRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		// What is about to sign is published already.
		if published := e.get("/oauth2/jwks").body; !strings.Contains(published, authsrv.KID(t, token)) {
			t.Fatal("signed with a key that is not published")
		}
	}
	if len(kids) < 3 {
		t.Errorf("%d keys signed in four rotations and more", len(kids))
	}
}

// Instances on one database share keys, accounts and policies, and see each
// other's revocations within a second.
func TestInstances(t *testing.T) { rpctest.SharedDatabases(t, instances) }

func instances(t *testing.T, url string) {
	n := rpctest.New(t)
	issuer := func(c *authsrv.Config, d *daemon.Config) { c.Issuer, d.DatabaseURL = "https://auth.example", url }
	a, b := startOn(t, n, issuer), startOn(t, n, issuer)
	a.people()
	token := b.token("ann", secretOf("ann"))
	rpctest.Eventually(t, "a knows the key of b", func() bool { return a.active(token) })
	w := b.watch(b.as(b.token("orders", secretOf("orders"))))
	w.saw(t, "the first message", func(m *pb.WatchResponse) bool { return m.Reset_ })
	if _, err := a.oauth.Revoke(a.as(token), &pb.RevokeRequest{AccessToken: token}, a.here()...); err != nil {
		t.Fatal(err)
	}
	w.saw(t, "a's revocation at b", func(m *pb.WatchResponse) bool { return len(m.Revocations) > 0 })
	if b.active(token) {
		t.Error("active at b")
	}
	if _, err := a.policy.Create(a.admin(), &pb.PolicyCreateRequest{Rule: &pb.Rule{Id: "r", Effect: "allow"}}, a.here()...); err != nil {
		t.Fatal(err)
	}
	w.saw(t, "a's rule at b", func(m *pb.WatchResponse) bool { return len(ids(m.Rules)) == 1 })
}

// Two instances that start at once on an empty database make one admin, one
// bootstrap secret and one key.
func TestFirstStartOfTwo(t *testing.T) { rpctest.SharedDatabases(t, firstStartOfTwo) }

func firstStartOfTwo(t *testing.T, url string) {
	n := rpctest.New(t)
	dirs := []string{t.TempDir(), t.TempDir()}
	both := make([]*env, 2)
	var wg sync.WaitGroup
	for i := range both {
		wg.Go(func() {
			both[i] = startOn(t, n, func(c *authsrv.Config, d *daemon.Config) {
				c.AdminSecret, c.BootstrapSecret, c.Issuer, d.DatabaseURL, d.DataDir = "", "", "https://auth.example", url, dirs[i]
			})
		})
	}
	wg.Wait()
	left := 0
	for _, dir := range dirs {
		if secret, err := os.ReadFile(filepath.Join(dir, authsrv.AdminFile)); err == nil {
			left++
			for _, e := range both {
				e.token(authsrv.AdminID, strings.TrimSpace(string(secret)))
			}
		}
	}
	if left != 1 {
		t.Errorf("%d instances left the admin's secret", left)
	}
}

func TestFirstStart(t *testing.T) {
	dir := t.TempDir()
	var out strings.Builder
	change := func(c *authsrv.Config, d *daemon.Config) {
		c.AdminSecret, c.BootstrapSecret, c.Announce, d.DataDir = "", "", &out, dir
	}
	e := start(t, change)
	read := func(name string) string {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v", name, info.Mode())
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		return first
	}
	admin, enrol := read(authsrv.AdminFile), read(authsrv.BootstrapFile)
	if read("auth.db"); len(admin) < 32 || len(enrol) < 32 || admin == enrol {
		t.Error("weak secrets")
	}
	if strings.Count(out.String(), admin) != 1 || strings.Contains(out.String(), enrol) {
		t.Errorf("printed %s", out.String())
	}
	token := e.token(authsrv.AdminID, admin)
	if _, err := e.account.Enrol(e.as(""), &pb.EnrolRequest{Id: "go.micro.srv.trace", Secret: enrol}); err != nil {
		t.Error(err)
	}
	if err := e.running.Stop(); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	e = start(t, change, func(c *authsrv.Config, _ *daemon.Config) { c.Issuer = "http://" + c.HTTP.Addr().String() })
	if out.Len() != 0 {
		t.Errorf("printed again: %s", out.String())
	}
	e.token(authsrv.AdminID, admin)
	_ = token
}
