// Package daemon is what the mains of all services share: flags, registry and
// broker choice, TLS, the database, health, and stopping in order. Start boots
// the same service inside a process, for tests and the all-in-one example.
package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"
	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"
	"google.golang.org/grpc/credentials"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/guard"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/prometheus"
)

// Service is what one service adds to the common parts.
type Service struct {
	Name  string     // as registered: "go.micro.srv.trace"
	Usage string     // one line for --help
	Flags []cli.Flag // beside the common ones; their values go to Destinations
	// Check, if not nil, judges the flags before anything is waited for.
	Check func(env *Env) error
	// Registry, when set, makes the registry that the service itself is. It is
	// used when no other was named.
	Registry func() registry.Registry
	// Start registers the handlers on env.Server and begins the background
	// work. It must not block. What it opened it closes through env.OnStop.
	Start func(ctx context.Context, env *Env) error
	// Issuer, if not nil, is for go.micro.srv.auth, which cannot ask itself over
	// the wire. It is called after Start, and not at all when the service is
	// insecure.
	Issuer func() Issuer
}

// Bootable is a Service, or a type of a public package that embeds one and shows
// nothing of it.
type Bootable interface{ service() Service }

func (s Service) service() Service { return s }

// Issuer is a service that makes tokens.
type Issuer struct {
	Authenticate server.HandlerWrapper // of its callers
	Judge        guard.Judge           // the same, before their messages are read
	Identify     client.Wrapper        // gives its own calls its token
	Identity     tls.Certificate       // by which it proves that it is auth-srv
}

// Config is what the common flags say. Registry and Broker are required, but
// that a service which is a registry needs no other.
type Config struct {
	Registry    registry.Registry
	Broker      broker.Broker
	Address     string // to listen on, default "127.0.0.1:0"
	Advertise   string // to register when it differs from Address
	AdminAddr   string // of /healthz, /readyz and /metrics; empty: none
	DatabaseURL string // see sqlstore.Open; empty: a SQLite file in DataDir
	// DatabaseWait is how long a start waits for a database that is away.
	DatabaseWait time.Duration
	DataDir      string // for files; empty: the service keeps nothing on disk
	TLS          *tls.Config
	// DialTLS is for connections to other services, TLS unless given.
	DialTLS     credentials.TransportCredentials
	Insecure    bool        // serve callers that are not authenticated
	Credentials Credentials // of the service at auth-srv
	// AuthAddresses are the "host:port" of auth-srvs; empty: they are looked up.
	AuthAddresses []string
	// TrustRegistry sends the service's secret to whoever is registered as
	// auth-srv, where neither its key nor its address is known.
	TrustRegistry    bool
	RegisterInterval time.Duration // default DefaultRegisterInterval
	Version          string
	Logger           *slog.Logger

	lost *sink // what Logger writes to, nil: it is not ours
}

// Env is what a Service finds when it starts.
type Env struct {
	Config
	Name   string
	Server server.Server
	Client client.Client // calls other services; closed at stop
	// Done is closed when the service stops: stream handlers end then.
	Done <-chan struct{}

	stops   []func(context.Context) error
	state   *state
	work    *work
	admin   *http.ServeMux
	metrics *prometheus.Metrics

	authenticate server.HandlerWrapper
	judge        guard.Judge
	conns        *guard.Connecting
	following    func() bool
	subscribe    server.SubscriberWrapper
	names        auth.Names
	identity     atomic.Pointer[tls.Certificate] // of an Issuer
	prove        bool                            // this service is an Issuer
}

type check struct {
	name string
	fn   func(context.Context) error
}

// CallersCanRenew reports whether callers can have their tokens renewed now, as far
// as this service knows: not while auth-srv is out of reach. Who then falls
// silent may only have been refused.
func (e *Env) CallersCanRenew() bool { return e.following == nil || e.following() }

// OnStop adds f to what is done at the end, last added first. Its context ends
// when the time for stopping does.
func (e *Env) OnStop(f func(context.Context) error) { e.stops = append(e.stops, f) }

// Ready adds a condition to /readyz.
func (e *Env) Ready(name string, fn func(context.Context) error) {
	e.state.add(check{name, fn})
}

// Handle adds an HTTP handler to the admin address.
func (e *Env) Handle(pattern string, h http.Handler) { e.admin.Handle(pattern, h) }

// StopTimeout bounds a graceful stop.
const StopTimeout = 10 * time.Second

// How often a service renews its lease at the registry, which lasts three times
// as long; discovery-srv has rules of its own.
const (
	DefaultRegisterInterval = 30 * time.Second
	minRegisterInterval     = 100 * time.Millisecond
	maxRegisterInterval     = 10 * time.Minute
)

// Running is a started service.
type Running struct {
	env    *Env
	cancel context.CancelFunc
	admin  *adminServer
	stop   func() error
}

// Start boots the service and returns when it is registered. ctx bounds the
// start only.
func Start(ctx context.Context, b Bootable, c Config) (*Running, error) {
	s := b.service()
	if c.Registry == nil && s.Registry != nil {
		c.Registry = s.Registry()
	}
	if c.Address == "" {
		c.Address = "127.0.0.1:0"
	}
	if c.RegisterInterval == 0 {
		c.RegisterInterval = DefaultRegisterInterval
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = c.Logger.With("service", s.Name)
	caller := rpc.NewClient(clientConfig(c))
	life, cancel := context.WithCancel(context.Background())
	env := &Env{Config: c, Name: s.Name, Client: caller, Done: life.Done(), admin: http.NewServeMux()}
	env.state = &state{}
	env.metrics = prometheus.NewMetrics(metrics.Namespace(strings.ReplaceAll(shortName(s.Name), "-", "_")), metrics.Logger(c.Logger))
	env.work = newWork(c.Logger, env.metrics)
	env.Ready("work", env.work.err)
	env.Handle("/metrics", env.serveMetrics(env.metrics.Handler()))
	env.conns = guard.NewConnecting(maxConnsOfHost, maxConns, env.refusedConnection)
	env.prove = s.Issuer != nil && !c.Insecure
	if env.prove && c.TLS != nil {
		c.TLS = env.identified(c.TLS) // of the server; calls are made as the configuration says
	}
	env.Server = newServer(s.Name, uuid.NewString(), c, env.newGuard(),
		[]server.SubscriberWrapper{recoverSubscriber(c), env.guardSubscriber, env.watchSubscriber},
		recoverHandler(s.Name, c), metrics.HandlerWrapper(env.metrics), env.guard, env.watchHandler)
	env.OnStop(func(context.Context) error { caller.Close(); return env.metrics.Stop() })

	r := &Running{env: env, cancel: cancel}
	r.stop = sync.OnceValue(r.shutdown)
	if err := r.start(ctx, s); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", s.Name, err), r.Stop())
	}
	return r, nil
}

func (r *Running) start(ctx context.Context, s Service) error {
	if err := r.env.metrics.Start(); err != nil {
		return err
	}
	if s.Check != nil {
		if err := s.Check(r.env); err != nil {
			return usageError{err}
		}
	}
	if err := canListen(r.env.Address); err != nil { // it would turn out when all it waits for is there
		return err
	}
	admin, err := serveAdmin(r.env) // which says what is waited for
	if err != nil {
		return err
	}
	r.admin = admin
	if err := r.authenticated(ctx, s); err != nil {
		return err
	}
	if err := r.env.listen(); err != nil {
		return fmt.Errorf("listen on %s: %w", r.env.Address, err)
	}
	srv := r.env.Server
	r.env.OnStop(func(context.Context) error { return srv.Stop() })
	if err := registered(ctx, r.env, s.Issuer != nil); err != nil {
		return err
	}
	r.env.state.serving()
	return nil
}

func canListen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err // it names the address
	}
	return l.Close()
}

// authenticated starts the service's own part with callers and calls of its own
// authenticated, in the order that it takes.
func (r *Running) authenticated(ctx context.Context, s Service) error {
	e := r.env
	switch {
	case e.Insecure:
		return errors.Join(e.join(nil), s.Start(ctx, e))
	case s.Issuer == nil:
		if err := e.authenticated(ctx, e.Client); err != nil {
			return err
		}
		return s.Start(ctx, e)
	}
	if err := s.Start(ctx, e); err != nil {
		return err
	}
	return e.issues(s.Issuer())
}

// Address returns the "host:port" the service listens on.
func (r *Running) Address() string { return r.env.Server.Options().Address }

// AdminAddress returns the "host:port" of /healthz, or "".
func (r *Running) AdminAddress() string {
	if r.admin == nil {
		return ""
	}
	return r.admin.address
}

// Stop ends the service within StopTimeout: it turns unready, ends streams,
// leaves the registry, finishes calls in flight, then undoes what Start did.
// It is idempotent.
func (r *Running) Stop() error { return r.stop() }

func (r *Running) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), StopTimeout)
	defer cancel()
	r.cancel()
	var errs []error
	for i := len(r.env.stops); i > 0; i-- {
		errs = append(errs, within(ctx, r.env.stops[i-1]))
	}
	if r.admin != nil {
		errs = append(errs, r.admin.stop(ctx))
	}
	return errors.Join(errs...)
}

// within gives up on f when ctx ends: go-micro's Stop takes no context.
func within(ctx context.Context, f func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stop: %w", ctx.Err())
	}
}
