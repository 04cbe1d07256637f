package consulagents

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"
	"weak"

	"github.com/hashicorp/consul/api"
)

// A process has maxCalls + maxWaits connections to a server, whatever the number of
// its plugins: an agent refuses those above its limit (200 of one host), also those of
// registrations.
const (
	maxCalls = 1
	maxWaits = 2 // blocking queries, each of which has a connection for itself
)

// Where there are more blocking queries than connections they take turns, each for a
// part of cycle.
const (
	cycle    = 500 * time.Millisecond
	minTurn  = 15 * time.Millisecond
	maxTurn  = 500 * time.Millisecond
	longWait = 5 * time.Minute // Consul's default
)

// shared is mutable and global on purpose: all plugins of a process share connections.
// A set goes with the last client that holds it.
var shared = struct { //nolint:gochecknoglobals // see above
	mu   sync.Mutex
	sets map[setKey]weak.Pointer[set]
}{sets: make(map[setKey]weak.Pointer[set])}

// setKey is what clients with the same connections have in common.
type setKey struct {
	tls *tls.Config
	env string // TLS by the environment
}

// set is the connections to all servers with one TLS configuration.
type set struct {
	calls, waits *http.Transport

	mu    sync.Mutex
	hosts map[string]*queue
}

// acquire returns the set of a configuration; transport is used for a new one.
func acquire(tlsConfig *tls.Config, env api.TLSConfig, transport *http.Transport) *set {
	k := setKey{tlsConfig, fmt.Sprint(env.Address, env.CAFile, env.CAPath, env.CertFile, env.KeyFile, env.InsecureSkipVerify)}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if s := shared.sets[k].Value(); s != nil {
		return s
	}
	s := &set{calls: transport, waits: transport.Clone(), hosts: make(map[string]*queue)}
	s.calls.MaxConnsPerHost, s.calls.MaxIdleConnsPerHost = maxCalls, maxCalls
	s.waits.MaxConnsPerHost, s.waits.MaxIdleConnsPerHost = maxWaits, maxWaits
	made := weak.Make(s)
	shared.sets[k] = made
	runtime.AddCleanup(s, func(k setKey) {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		if shared.sets[k] == made {
			delete(shared.sets, k)
		}
	}, k)
	return s
}

func (s *set) idle() {
	s.calls.CloseIdleConnections()
	s.waits.CloseIdleConnections()
}

// RoundTrip implements http.RoundTripper.
func (s *set) RoundTrip(r *http.Request) (*http.Response, error) {
	if !blocking(r) {
		return s.calls.RoundTrip(r)
	}
	s.mu.Lock()
	q := s.hosts[r.URL.Host]
	if q == nil {
		q = &queue{turns: make(chan struct{}, maxWaits), running: make(map[*turn]struct{})}
		s.hosts[r.URL.Host] = q
	}
	s.mu.Unlock()
	return q.wait(r, s.waits)
}

// queue is the blocking queries of one server.
type queue struct {
	turns chan struct{} // one for each that runs

	mu      sync.Mutex
	count   int // running and waiting for their turns
	running map[*turn]struct{}
}

// turn is a query that runs. A long one ends when others come.
type turn struct {
	cancel context.CancelCauseFunc
	long   bool
}

var errNext = errors.New("it is another's turn")

// wait is a blocking query, in as many turns as it takes.
func (q *queue) wait(r *http.Request, transport http.RoundTripper) (*http.Response, error) {
	index := r.URL.Query().Get("index")
	whole, err := time.ParseDuration(r.URL.Query().Get("wait"))
	if err != nil || whole <= 0 {
		whole = longWait
	}
	q.enter()
	end := time.Now().Add(whole)
	for {
		select {
		case q.turns <- struct{}{}:
		case <-r.Context().Done():
			q.leave()
			return nil, r.Context().Err()
		}
		rsp, over, err := q.turn(r, transport, max(time.Until(end), time.Millisecond))
		// An answer before its time says something, whatever the index: that the server
		// was restored, for one.
		if err == nil && over && rsp.Header.Get("X-Consul-Index") == index && time.Now().Before(end) && unchanged(rsp) {
			err = errNext
		}
		if errors.Is(err, errNext) && r.Context().Err() == nil {
			<-q.turns
			continue
		}
		if err != nil {
			<-q.turns
			q.leave()
			return nil, err
		}
		body := rsp.Body
		rsp.Body = &closing{ReadCloser: body, once: sync.OnceFunc(func() { <-q.turns; q.leave() })}
		return rsp, nil
	}
}

// turn asks once, and reports whether the answer came when its time was over. Its
// error is errNext when the query was interrupted.
func (q *queue) turn(r *http.Request, transport http.RoundTripper, left time.Duration) (_ *http.Response, over bool, _ error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	t := &turn{cancel: cancel}
	q.mu.Lock()
	turnTime := min(max(cycle*maxWaits/time.Duration(q.count), minTurn), maxTurn)
	if t.long = q.count <= maxWaits; t.long {
		turnTime = left
	}
	q.running[t] = struct{}{}
	q.mu.Unlock()
	asked := r.Clone(ctx)
	query := asked.URL.Query()
	wait := max(min(turnTime, left).Milliseconds(), 1)
	query.Set("wait", strconv.FormatInt(wait, 10)+"ms")
	asked.URL.RawQuery = query.Encode()
	begun := time.Now()
	rsp, err := transport.RoundTrip(asked)
	over = time.Since(begun) >= time.Duration(wait)*time.Millisecond
	q.mu.Lock()
	delete(q.running, t)
	q.mu.Unlock()
	if err != nil {
		if errors.Is(context.Cause(ctx), errNext) {
			err = errNext
		}
		cancel(nil)
		return nil, false, err
	}
	rsp.Body = &closing{ReadCloser: rsp.Body, once: sync.OnceFunc(func() { cancel(nil) })}
	return rsp, over, nil
}

func (q *queue) enter() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count++
	if q.count <= maxWaits {
		return
	}
	for t := range q.running {
		if t.long {
			t.cancel(errNext)
		}
	}
}

func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count--
}

// unchanged reads an answer that says nothing new, so that its connection can be used
// again.
func unchanged(rsp *http.Response) bool {
	_, err := io.Copy(io.Discard, rsp.Body)
	return errors.Join(err, rsp.Body.Close()) == nil
}

// closing calls a function when the body is closed.
type closing struct {
	io.ReadCloser
	once func()
}

// Close implements io.Closer.
func (c *closing) Close() error {
	defer c.once()
	return c.ReadCloser.Close()
}
