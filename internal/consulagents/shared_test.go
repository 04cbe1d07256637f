package consulagents_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/internal/consulagents"
)

// change is the index of each key at an agent, and what waits for the next.
type change struct {
	mu    sync.Mutex
	index map[string]int
	next  chan struct{}
}

func (c *change) serve(w http.ResponseWriter, r *http.Request) {
	key, seen := r.URL.Path, r.URL.Query().Get("index")
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait")) // 0: it does not block
	over := time.After(wait)
	for {
		c.mu.Lock()
		index, next := fmt.Sprint(c.index[key]+1), c.next
		c.mu.Unlock()
		if seen != index {
			w.Header().Set("X-Consul-Index", index)
			_, _ = w.Write([]byte("[]")) // a client that is gone
			return
		}
		select {
		case <-next:
		case <-over:
			seen = ""
		case <-r.Context().Done():
			return
		}
	}
}

func (c *change) touch(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index[key]++
	close(c.next)
	c.next = make(chan struct{})
}

// All clients of a process have three connections to a server, however many blocking
// queries there are, and each of those hears of its change.
func TestConnectionsAreShared(t *testing.T) {
	c := &change{index: map[string]int{}, next: make(chan struct{})}
	var open atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	made := func() *api.Client {
		client, idle, err := consulagents.NewClient([]string{strings.TrimPrefix(server.URL, "http://")}, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(idle)
		return client
	}
	const queries = 12
	heard := make(chan int, queries)
	for i := range queries {
		client := made()
		go func() {
			_, meta, err := client.KV().Keys(fmt.Sprint("k", i), "", (&api.QueryOptions{WaitIndex: 1, WaitTime: time.Minute}).WithContext(t.Context()))
			if err != nil || meta.LastIndex != 2 {
				t.Errorf("query %d: %+v, %v", i, meta, err)
			}
			heard <- i
		}()
	}
	caller := made()
	for i := range queries {
		if _, _, err := caller.KV().Keys("other", "", nil); err != nil {
			t.Fatal(err)
		}
		c.touch(fmt.Sprint("/v1/kv/k", i))
		select {
		case got := <-heard:
			if got != i {
				t.Errorf("query %d returned at the change of %d", got, i)
			}
		case <-time.After(patience):
			t.Fatalf("query %d does not hear of its change", i)
		}
		if n := open.Load(); i > 0 && n > 3 { // the first ones were closed here, which the server learns later
			t.Errorf("%d connections", n)
		}
	}
}

// A query that nothing changes for ends when its time is over.
func TestABlockingQueryEnds(t *testing.T) {
	c := &change{index: map[string]int{}, next: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(c.serve))
	defer server.Close()
	client, idle, err := consulagents.NewClient([]string{strings.TrimPrefix(server.URL, "http://")}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer idle()
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			begun := time.Now()
			_, meta, err := client.KV().Keys("k", "", (&api.QueryOptions{WaitIndex: 1, WaitTime: time.Second}).WithContext(t.Context()))
			if err != nil || meta.LastIndex != 1 || time.Since(begun) < 900*time.Millisecond {
				t.Errorf("%+v, %v after %v", meta, err, time.Since(begun))
			}
		})
	}
	all.Wait()
}
