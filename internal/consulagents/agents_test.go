package consulagents_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/micro/go-platform/internal/consulagents"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/netcut"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent answers as it is told to, and says when it was asked.
type agent struct {
	addr  string
	asked chan struct{}
	mode  atomic.Pointer[string]
}

const (
	well     = "well"
	leader   = "No cluster leader"
	hanging  = "hangs"
	patience = 10 * time.Second
)

func newAgent(t *testing.T, mode string) *agent {
	a := &agent{asked: make(chan struct{}, 100)}
	a.is(mode)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked <- struct{}{}
		w.Header().Set("X-Consul-Index", "1")
		mode := *a.mode.Load()
		switch {
		case mode == leader:
			http.Error(w, mode, http.StatusInternalServerError)
		case mode == hanging || r.URL.Query().Has("index"):
			<-r.Context().Done()
		default:
			_, _ = w.Write([]byte("[]")) // a client that is gone
		}
	}))
	t.Cleanup(server.Close)
	a.addr = strings.TrimPrefix(server.URL, "http://")
	return a
}

func (a *agent) is(mode string) { a.mode.Store(&mode) }

func client(t *testing.T, agents ...*agent) *api.Client {
	var addrs []string
	for _, a := range agents {
		addrs = append(addrs, a.addr)
	}
	c, idle, err := consulagents.NewClient(addrs, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(idle)
	return c
}

func keys(ctx context.Context, c *api.Client, index uint64) error {
	_, _, err := c.KV().Keys("x", "", (&api.QueryOptions{WaitIndex: index}).WithContext(ctx))
	return err
}

// An agent that was cut off from its servers answers, of no use.
func TestWithoutServers(t *testing.T) {
	cut, good := newAgent(t, leader), newAgent(t, well)
	c := client(t, cut, good)
	if err := keys(t.Context(), c, 0); err == nil {
		t.Fatal("an answer of 500 is none")
	}
	for range 3 {
		if err := keys(t.Context(), c, 0); err != nil {
			t.Errorf("still at the agent without servers: %v", err)
		}
	}
	if len(cut.asked) != 1 || len(good.asked) != 3 {
		t.Errorf("%d and %d requests", len(cut.asked), len(good.asked))
	}
}

// A caller that waits no longer says nothing of the agent.
func TestImpatientCaller(t *testing.T) {
	one, two := newAgent(t, well), newAgent(t, well)
	c := client(t, one, two)
	other := make(chan error, 1)
	go func() { other <- keys(t.Context(), c, 7) }()
	<-one.asked
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := keys(ctx, c, 7); err == nil {
		t.Error("a blocking query returned")
	}
	if err := keys(t.Context(), c, 0); err != nil || len(two.asked) > 0 || len(other) > 0 {
		t.Errorf("%v: the agent was left", err)
	}
	one.is(leader)
	_ = keys(t.Context(), c, 0) // ends the query of the other
	<-other
}

// An agent that hangs is left when the bound of a call is over, with all who
// wait there.
func TestHangingAgent(t *testing.T) {
	one, two := newAgent(t, well), newAgent(t, well)
	c := client(t, one, two)
	waiting := make(chan error, 1)
	go func() { waiting <- keys(t.Context(), c, 7) }()
	<-one.asked
	one.is(hanging)
	ctx, cancel := lifecycle.Bound(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := keys(ctx, c, 0); err == nil {
		t.Error("an agent that hangs answered")
	}
	select {
	case err := <-waiting:
		if err == nil {
			t.Error("a blocking query had an answer")
		}
	case <-time.After(patience):
		t.Fatal("waits at an agent that was left")
	}
	if err := keys(t.Context(), c, 0); err != nil || len(two.asked) != 1 {
		t.Errorf("%v, %d requests at the next", err, len(two.asked))
	}
}

func TestEnvironment(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Consul-Index", "1")
		_, _ = w.Write([]byte("[]")) // a client that is gone
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONSUL_HTTP_SSL", "true")
	t.Setenv("CONSUL_CACERT", file)
	c, idle, err := consulagents.NewClient([]string{strings.TrimPrefix(server.URL, "https://")}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer idle()
	if err := keys(t.Context(), c, 0); err != nil {
		t.Error(err)
	}
}

// What is something else is not taken for an empty Consul, nor for one that has done
// what it was told.
func TestNotConsul(t *testing.T) {
	for lie, answer := range netcut.Lies() {
		liar, good := netcut.Liar(t, answer), newAgent(t, well)
		alone, idle, err := consulagents.NewClient([]string{liar}, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(idle)
		if err := keys(t.Context(), alone, 0); err == nil || !strings.Contains(err.Error(), "not Consul") {
			t.Errorf("%s: keys: %v", lie, err)
		}
		done, _, _, err := alone.KV().Txn(api.KVTxnOps{{Verb: api.KVSet, Key: "a"}}, nil)
		if err == nil || done {
			t.Errorf("%s: a transaction: %v, %v", lie, done, err)
		}
		both, idle, err := consulagents.NewClient([]string{liar, good.addr}, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(idle)
		if err := keys(t.Context(), both, 0); err != nil || len(good.asked) != 1 {
			t.Errorf("%s: with a good one: %v", lie, err)
		}
	}
}
