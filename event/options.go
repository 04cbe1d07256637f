package event

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/event/internal/wire"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/trace"
)

// Options are what the plugins of this package and of those below it share.
type Options struct {
	Client  client.Client
	TLS     *tls.Config
	Logger  *slog.Logger
	Trace   trace.Trace
	Origin  string
	Timeout time.Duration
	Queue   int
	Servers []string
	Stream  string
}

// Option sets one of the Options.
type Option func(*Options)

// validate returns an error that names every option with a bad value.
func (o Options) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("event: option "+format, args...))
		}
	}
	check(o.Timeout > 0, "Timeout: %v is not positive", o.Timeout)
	check(o.Queue > 0, "Queue: %d is not positive", o.Queue)
	check(o.Origin == "" || clean.Name(o.Origin, MaxType), "Origin: want up to %d bytes of printable UTF-8", MaxType)
	check(wire.StreamName(o.Stream), "Stream: %q: want 1 to 64 letters, digits, - and _", o.Stream)
	for _, s := range o.Servers {
		check(s != "", "Servers: an empty address")
	}
	return errors.Join(errs...)
}

// Client sets the client whose registry leads to event-srv, default
// client.DefaultClient.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// TLS is used to reach event-srv when the client is not a grpc client with
// settings of its own, and the servers of other plugins.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Logger sets where lost and regained connections and records that were lost
// are reported, default slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// Trace has publications and handlers recorded as spans. The ids travel in the
// metadata of the record.
func Trace(t trace.Trace) Option { return func(o *Options) { o.Trace = t } }

// Origin sets the Origin of records that have none, the name of the service
// commonly.
func Origin(name string) Option { return func(o *Options) { o.Origin = name } }

// Timeout bounds a publication whose context has no deadline, and each try of
// one that is queued, default 5 s.
func Timeout(d time.Duration) Option { return func(o *Options) { o.Timeout = d } }

// Queue sets how many records PublishAsync holds, default 10,000. Their data
// is bounded by 64 MB as well.
func Queue(n int) Option { return func(o *Options) { o.Queue = n } }

// Servers sets where plugins connect that do not ask the registry; for
// event/nats "host:port" or URLs.
func Servers(addresses ...string) Option { return func(o *Options) { o.Servers = addresses } }

// Stream sets the name of the stream of event/nats, default "micro-event".
func Stream(name string) Option { return func(o *Options) { o.Stream = name } }
