package guard_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	mgrpc "go-micro.dev/v6/server/grpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/guard"
	"github.com/micro/go-platform/auth/memory"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// idle opens connections and sends nothing.
func idle(t *testing.T, address string, n int) {
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // the test is over
	}
}

func TestIdleConnectionsShutNobodyOut(t *testing.T) {
	var closed atomic.Int64
	c := guard.NewConnecting(20, 100, func() { closed.Add(1) })
	began, end := make(chan struct{}), make(chan struct{})
	s := &http.Server{ConnState: c.State, ReadTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(began)
			<-end
		}
		_, _ = io.WriteString(w, "ok") // the client's error shows
	})}
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(c.Listener(l)) }()
	get := func(path string) error {
		tr := &http.Transport{}
		defer tr.CloseIdleConnections()
		rsp, err := (&http.Client{Transport: tr}).Get("http://" + l.Addr().String() + path)
		if err == nil {
			err = rsp.Body.Close()
		}
		return err
	}
	slow := make(chan error, 1)
	go func() { slow <- get("/slow") }()
	<-began
	idle(t, l.Addr().String(), 200)
	for range 10 {
		if err := get("/"); err != nil {
			t.Errorf("beside 200 idle connections: %v", err)
		}
	}
	close(end)
	if err := <-slow; err != nil {
		t.Errorf("a request at work was cut off: %v", err)
	}
	if n := closed.Load(); n < 195 || n > 206 { // five may be idle
		t.Errorf("%d connections were closed", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	<-done
}

// A caller whose connection made a call keeps it.
func TestIdleConnectionsToGRPC(t *testing.T) {
	var closed atomic.Int64
	c := guard.NewConnecting(20, 30, func() { closed.Add(1) })
	l := listen(t)
	n := rpctest.New(t)
	var accepted atomic.Int64
	n.Serve(rpctest.GRPC, name, mgrpc.Options(guard.New(nil).ServerOptions()...), mgrpc.Listener(counted{c.Listener(l), &accepted}))
	svc := echo.NewEchoService(name, n.Client(rpctest.GRPC))
	for range 2 {
		if _, err := svc.Call(t.Context(), &echo.Request{Text: "hi"}); err != nil {
			t.Fatal(err)
		}
		idle(t, l.Addr().String(), 100)
		rpctest.Eventually(t, "they were accepted", func() bool { return accepted.Load()%100 == 1 })
	}
	if _, err := svc.Call(t.Context(), &echo.Request{Text: "hi"}); err != nil {
		t.Fatal(err)
	}
	if n := accepted.Load(); n != 201 {
		t.Errorf("%d connections were accepted: the caller lost its own", n)
	}
	if closed.Load() < 180 {
		t.Errorf("%d connections were closed", closed.Load())
	}
}

type counted struct {
	net.Listener
	n *atomic.Int64
}

func (c counted) Accept() (net.Conn, error) {
	nc, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return nc, err
}

// Where all connections are at work a new one is closed.
func TestWorkIsNotCutOff(t *testing.T) {
	c := guard.NewConnecting(2, 2, nil)
	l := c.Listener(listen(t))
	defer func() { _ = l.Close() }() // the test is over
	for i := range 3 {
		idle(t, l.Addr().String(), 1)
		nc, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			if _, err := nc.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the third connection: %v, want closed", err)
			}
			continue
		}
		c.State(nc, http.StateActive)
		defer func() { _ = nc.Close() }()
	}
}

// A TLS server counts its connections as well: those at work are kept.
func TestIdleConnectionsBehindTLS(t *testing.T) {
	var closed atomic.Int64
	c := guard.NewConnecting(20, 100, func() { closed.Add(1) })
	began, end := make(chan struct{}), make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-end
	}))
	s.Listener, s.Config.ConnState = c.Listener(s.Listener), c.State
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that do not come
	s.StartTLS()
	defer s.Close()
	slow := make(chan error, 1)
	go func() {
		rsp, err := s.Client().Get(s.URL)
		if err == nil {
			err = rsp.Body.Close()
		}
		slow <- err
	}()
	<-began
	idle(t, s.Listener.Addr().String(), 50)
	rpctest.Eventually(t, "idle connections are closed", func() bool { return closed.Load() >= 45 })
	close(end)
	if err := <-slow; err != nil {
		t.Errorf("a request at work was cut off: %v", err)
	}
}

// A call makes no connection sacred: an account that makes one on each of many
// connections, and leaves them, keeps a quarter, and others get in.
func TestConnectionsThatWorkedAreBounded(t *testing.T) {
	var closed atomic.Int64
	c := guard.NewConnecting(20, 30, func() { closed.Add(1) })
	w := &world{T: t, net: rpctest.New(t), auth: memory.NewAuth(auth.Service(name))}
	w.started(w.auth)
	l := listen(t)
	w.net.Serve(rpctest.GRPC, name, guard.ServerOption(w.auth), mgrpc.Listener(c.Listener(l)))
	call := func(cc *grpc.ClientConn, account string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+w.token(account))
		return cc.Invoke(ctx, "/go.platform.test.Echo/Call", &echo.Request{Text: "hi"}, &echo.Response{}, grpc.WaitForReady(true))
	}
	dial := func() *grpc.ClientConn {
		cc, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Hour, MaxDelay: time.Hour}, MinConnectTimeout: time.Minute}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cc.Close() }) // the test is over
		return cc
	}
	mine := dial()
	if err := call(mine, "other"); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if err := call(dial(), "low"); err != nil {
			t.Fatal(err)
		}
	}
	rpctest.Eventually(t, "the account keeps a quarter", func() bool { return closed.Load() >= 30 })
	for range 3 {
		if err := call(mine, "other"); err != nil {
			t.Errorf("another account on its own connection: %v", err)
		}
		if err := call(dial(), "third"); err != nil {
			t.Errorf("another account on a new connection: %v", err)
		}
	}
}
