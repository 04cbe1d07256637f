package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	merrors "go-micro.dev/v6/errors"
)

func internalError(name string) error {
	return merrors.InternalServerError(name, "internal error")
}

type adminServer struct {
	address string
	server  *http.Server
	done    chan error
}

// serveAdmin serves health and metrics at the admin address, if there is one.
func serveAdmin(env *Env) (*adminServer, error) {
	if env.AdminAddr == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", env.AdminAddr)
	if err != nil {
		return nil, fmt.Errorf("admin address: %w", err)
	}
	env.admin.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	env.admin.HandleFunc("/readyz", env.readyz)
	a := &adminServer{
		address: listener.Addr().String(),
		server: &http.Server{
			Handler: env.admin, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		},
		done: make(chan error, 1),
	}
	bounded := env.Web(a.server, listener)
	go func() { a.done <- a.server.Serve(bounded) }()
	return a, nil
}

func (a *adminServer) stop(ctx context.Context) error {
	err := a.server.Shutdown(ctx)
	if served := <-a.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// readyz answers 503 and names the condition that does not hold.
func (e *Env) readyz(w http.ResponseWriter, r *http.Request) {
	select {
	case <-e.Done:
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return
	default:
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	checks, err := e.state.get()
	if err != nil {
		http.Error(w, withoutPlaces(err.Error()), http.StatusServiceUnavailable)
		return
	}
	for _, c := range checks {
		if err := c.fn(ctx); err != nil {
			http.Error(w, c.name+": "+withoutPlaces(err.Error()), http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ready")
}
