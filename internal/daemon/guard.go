package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/auth/guard"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/metrics"
)

// Bounds of connections, of one host and in all.
const (
	maxConnsOfHost = 2048 // as many services may be behind one address
	maxConns       = 8192
	maxWebOfHost   = 256
	maxWeb         = 1000
)

// newGuard returns the guard that judges callers before their messages are
// read.
func (e *Env) newGuard() *guard.Guard {
	opts := []guard.Option{guard.As(e.Name), guard.MaxMessage(rpc.MaxMessage), guard.Observe(e.refused)}
	if !e.Insecure {
		opts = append(opts, guard.By(func(ctx context.Context, method, token string) (string, error) {
			if e.judge == nil { // not started yet
				return "", fmt.Errorf("not ready to authenticate: %w", rpcerr.ErrUnavailable)
			}
			return e.judge(ctx, method, token)
		}))
	}
	return guard.New(nil, opts...)
}

func (e *Env) refused(reason string) {
	e.metrics.Counter("refused").WithFields(metrics.Fields{"reason": reason}).Incr(1)
}

func (e *Env) refusedConnection() { e.refused(guard.Connections) }

// listen starts the server on a listener that bounds its connections.
func (e *Env) listen() error {
	l, err := net.Listen("tcp", e.Address)
	if err != nil {
		return err
	}
	bounded := e.conns.Listener(l)
	if e.prove && e.TLS == nil {
		bounded = &bilingual{bounded, e.identified(nil)}
	}
	if err := e.Server.Init(mgrpc.Listener(bounded)); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := e.Server.Start(); err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// Web bounds the connections of an HTTP server and returns the listener to
// serve on. Idle connections are closed for new ones, and counted.
func (e *Env) Web(s *http.Server, l net.Listener) net.Listener {
	c := guard.NewConnecting(maxWebOfHost, maxWeb, e.refusedConnection)
	s.ConnState = c.State
	return c.Listener(l)
}
