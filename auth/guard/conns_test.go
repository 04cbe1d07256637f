package guard_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/auth/guard"
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
