package consul_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/configtest"
	"github.com/micro/go-platform/config/source/consul"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func kv(t testing.TB, addr string) *api.KV {
	t.Helper()
	c := api.DefaultConfig()
	c.Address = addr
	c.Transport.DisableKeepAlives = true
	client, err := api.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	return client.KV()
}

func put(t testing.TB, kv *api.KV, key, value string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err = kv.Put(&api.KVPair{Key: key, Value: []byte(value)}, nil); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func TestSource(t *testing.T) {
	s := backend.Consul(t)
	n := 0
	configtest.RunSource(t, func(t testing.TB) configtest.Fixture {
		n++
		path := fmt.Sprintf("/test/%d", n)
		store := kv(t, s.Addr)
		return configtest.Fixture{
			Source: consul.NewSource(config.SourceHosts(s.Addr), config.SourceName(path)),
			Put: func(t testing.TB, values map[string]any) {
				data, err := json.Marshal(values)
				if err != nil {
					t.Fatal(err)
				}
				put(t, store, path[1:], string(data))
			},
			Text: func(t testing.TB, values map[string]string) {
				for name, value := range values {
					put(t, store, path[1:]+"/"+name, value)
				}
			},
			Break: func(t testing.TB) { s.Kill(t) }, Heal: func(t testing.TB) { s.Restart(t) },
		}
	})
	t.Run("Keys", func(t *testing.T) { testKeys(t, s.Addr) })
	t.Run("Servers", func(t *testing.T) {
		put(t, kv(t, s.Addr), "servers/a", "1")
		configtest.RunServers(t, s.Addr, func(_ testing.TB, hosts ...string) config.Source {
			return consul.NewSource(config.SourceHosts(hosts...), config.SourceName("servers"))
		})
	})
	t.Run("TLS", func(t *testing.T) {
		rpctest.Handshakes(t, s.Addr, func(_ *testing.T, addr string, c *tls.Config) error {
			_, err := consul.NewSource(config.SourceHosts(addr), config.SourceName("servers"), config.SourceTLS(c)).Read()
			return err
		})
	})
}

func testKeys(t *testing.T, addr string) {
	store := kv(t, addr)
	put(t, store, "micro/config/db/host", "localhost")
	put(t, store, "micro/config/db/port", "5432")
	put(t, store, "micro/configuration/other", "1")
	// In a path the dots would be cleaned away. It costs itself.
	odd := &api.KVTxnOp{Verb: api.KVSet, Key: "micro/config/../odd", Value: []byte("1")}
	if ok, _, _, err := store.Txn(api.KVTxnOps{odd}, nil); err != nil || !ok {
		t.Fatal(ok, err)
	}
	c := config.NewConfig(config.WithSource(consul.NewSource(config.SourceHosts(addr))), config.PollInterval(time.Hour))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if got := string(c.Bytes()); got != `{"db":{"host":"localhost","port":5432}}` {
		t.Errorf("got %s", got)
	}
	if skipped := c.Status()[0].Skipped; len(skipped) != 1 || !strings.Contains(skipped[0], "../odd") {
		t.Errorf("the odd one is named: %q", skipped)
	}
	if _, err := store.Delete("micro/config/db/port", nil); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "one key is gone", func() bool { return c.Get("db", "port").Int(0) == 0 })
	if _, err := store.DeleteTree("micro/config", nil); err != nil {
		t.Fatal(err)
	}
	put(t, store, "micro/config/a", "1")
	rpctest.Eventually(t, "all are others", func() bool { return string(c.Bytes()) == `{"a":1}` })
}

// TestIndexReset has a server whose index goes back, as after a restore.
func TestIndexReset(t *testing.T) {
	var index atomic.Int64
	index.Store(100)
	var zero atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, _ := strconv.ParseInt(r.URL.Query().Get("index"), 10, 64) // 0 when there is none
		if asked == 0 {
			zero.Add(1)
		}
		for end := time.Now().Add(10 * time.Second); index.Load() == asked && r.Context().Err() == nil && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		w.Header().Set("X-Consul-Index", strconv.FormatInt(index.Load(), 10))
		if r.URL.Query().Has("keys") {
			_, _ = io.WriteString(w, `["a/v"]`) // the client may be gone
			return
		}
		_, _ = fmt.Fprintf(w, `[{"Key":"a/v","Value":"%s"}]`, map[int64]string{100: "MQ==", 5: "Mg==", 6: "Mw=="}[index.Load()]) // the client may be gone
	})
	srv := httptest.NewServer(h)
	defer srv.Close()
	w, err := consul.NewSource(config.SourceHosts(srv.URL), config.SourceName("a")).Watch()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Stop() }() // it ends with the test
	for _, step := range []struct {
		index int64
		want  string
	}{{100, `{"v":1}`}, {5, `{"v":2}`}, {6, `{"v":3}`}} {
		index.Store(step.index)
		cs, err := w.Next()
		if err != nil || string(cs.Data) != step.want {
			t.Fatalf("index %d: %v, %v", step.index, cs, err)
		}
	}
	if zero.Load() < 2 {
		t.Error("the watcher did not start over after the index went back")
	}
}

func TestBadOptions(t *testing.T) {
	if _, err := consul.NewSource(config.SourceName("/")).Read(); !errors.Is(err, config.ErrInvalid) {
		t.Error(err)
	}
	s := consul.NewSource(config.SourceHosts("127.0.0.1:1"))
	if _, err := s.Read(); !errors.Is(err, config.ErrUnavailable) || s.String() != "consul:/micro/config" {
		t.Errorf("%s: %v", s, err)
	}
}

// A token that may read the path and what is below it is enough: the keys beside it
// are not asked for.
func TestToken(t *testing.T) {
	addr := backend.Consul(t, backend.Args(`-hcl=acl { enabled = true, default_policy = "allow", enable_key_list_policy = true, tokens { initial_management = "root" } }`)).Addr
	c, err := api.NewClient(&api.Config{Address: addr, Token: "root"})
	if err != nil {
		t.Fatal(err)
	}
	nothing, _, err := c.ACL().PolicyCreate(&api.ACLPolicy{Name: "nothing", Rules: `key_prefix "" { policy = "deny" }`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const anonymous = "00000000-0000-0000-0000-000000000002"
	if _, _, err := c.ACL().TokenUpdate(&api.ACLToken{AccessorID: anonymous, Policies: []*api.ACLTokenPolicyLink{{ID: nothing.ID}}}, nil); err != nil {
		t.Fatal(err)
	}
	policy, _, err := c.ACL().PolicyCreate(&api.ACLPolicy{Name: "app", Rules: `key_prefix "" { policy = "deny" } key "micro/config" { policy = "read" } key_prefix "micro/config/" { policy = "list" }`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := c.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, c.KV(), "micro/config", `{"a":1,"b":1}`)
	put(t, c.KV(), "micro/config/b", "2")
	put(t, c.KV(), "micro/config2/c", "3")
	for _, wrong := range []string{"", "e95b599e-166e-7d80-08ad-aee76e7ddf19"} {
		if cs, err := consul.NewSource(config.SourceHosts(addr), consul.Token(wrong)).Read(); err == nil && string(cs.Data) != "" {
			t.Errorf("token %q: read %s", wrong, cs.Data)
		}
	}
	w, err := consul.NewSource(config.SourceHosts(addr), consul.Token(token.SecretID)).Watch()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	}()
	for _, want := range []string{`{"a":1,"b":2}`, `{"a":1,"b":4}`, `{"a":5,"b":4}`} {
		cs, err := w.Next()
		if err != nil || string(cs.Data) != want {
			t.Fatalf("%+v, %v, want %s", cs, err, want)
		}
		switch want {
		case `{"a":1,"b":2}`:
			put(t, c.KV(), "micro/config/b", "4")
		case `{"a":1,"b":4}`:
			put(t, c.KV(), "micro/config", `{"a":5}`)
		}
	}
}
