package router

import (
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"path"
	"slices"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/router/internal/balance"
)

// Defaults and bounds of the options.
const (
	DefaultInterval    = 5 * time.Second // of statistics
	DefaultRetries     = 2               // of one call, beside its first try
	DefaultRetryRatio  = 0.2             // of all calls
	DefaultRetryBurst  = 10
	DefaultMaxServices = 1000
	DefaultDecay       = balance.DefaultDecay
	DefaultFailures    = balance.DefaultConsecutive  // in a row, which eject a node
	DefaultEjection    = balance.DefaultBaseEjection // the first one
	DefaultMaxEjection = balance.DefaultMaxEjection

	MinInterval = 100 * time.Millisecond
	MaxInterval = 10 * time.Second
)

// Options are the options of this package. Like go-micro's selectors a Router
// takes selector.Options, whose context carries them. The functions of the same
// names set them, and say what they are for.
type Options struct {
	Client      client.Client
	Server      server.Server
	TLS         *tls.Config
	Logger      *slog.Logger
	Interval    time.Duration
	Standalone  bool
	Strategy    Balance
	Zone        string
	Decay       time.Duration
	Failures    int // set by Eject, as the next two
	Ejection    time.Duration
	MaxEjection time.Duration
	NotReady    func(node string) bool
	Retries     int
	RetryRatio  float64 // set by RetryBudget, as the next; below 0: what router-srv says, else DefaultRetryRatio
	RetryBurst  int
	Idempotent  []string
	// AcceptLabels is nil for all.
	AcceptLabels      []string
	StickyBy          string
	MaxServices       int
	ClientRates       map[string]Rate // set by ClientRate
	ClientConcurrency int             // 0: not limited
	ServerRate        Rate            // the zero value: not limited
	ServerConcurrency int             // 0: not limited
}

// Rate is a limit of calls per second, Burst of which may come at once.
type Rate struct {
	PerSecond float64
	Burst     int
}

type optionsKey struct{}

func set(change func(*Options)) selector.Option {
	return func(o *selector.Options) {
		if o.Context == nil {
			o.Context = context.Background()
		}
		s := optionsOf(o)
		change(&s)
		o.Context = context.WithValue(o.Context, optionsKey{}, s)
	}
}

func optionsOf(o *selector.Options) Options {
	if o.Context != nil {
		if s, ok := o.Context.Value(optionsKey{}).(Options); ok {
			return s
		}
	}
	return Options{
		Interval: DefaultInterval, Strategy: PeakEWMA, Decay: DefaultDecay,
		Failures: DefaultFailures, Ejection: DefaultEjection, MaxEjection: DefaultMaxEjection,
		Retries: DefaultRetries, RetryRatio: -1, RetryBurst: DefaultRetryBurst, MaxServices: DefaultMaxServices,
	}
}

// NewOptions returns the defaults with opts applied; options of other packages
// are ignored. Plugins begin with it.
func NewOptions(opts ...selector.Option) Options {
	var o selector.Options
	option.Apply(&o, opts)
	return newOptions(&o)
}

func newOptions(o *selector.Options) Options {
	s := optionsOf(o)
	if s.Server == nil {
		s.Server = server.DefaultServer
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	return s
}

// Validate returns an ErrInvalid that names each option with a bad value.
func (o Options) Validate() error {
	c := option.Of("router")
	option.Within(c, "Interval", o.Interval, MinInterval, MaxInterval)
	known := slices.Contains([]Balance{PeakEWMA, LeastConnections, RoundRobin, Random}, o.Strategy)
	c.That(known, "Strategy", "%q is unknown", o.Strategy)
	c.That(o.Zone == "" || clean.Name(o.Zone, 128), "Zone", "%.64q is not printable, or longer than 128 bytes", o.Zone)
	option.Within(c, "Decay", o.Decay, 10*time.Millisecond, time.Hour)
	option.Within(c, "Eject", o.Failures, 1, 1000)
	option.Within(c, "Eject", o.Ejection, 10*time.Millisecond, time.Hour)
	option.Within(c, "Eject", o.MaxEjection, o.Ejection, time.Hour)
	option.Within(c, "Retries", o.Retries, 0, 10)
	if o.RetryRatio != -1 {
		option.Within(c, "RetryBudget", o.RetryRatio, 0, 1)
	}
	option.Within(c, "RetryBudget", o.RetryBurst, 0, 1000)
	for _, p := range o.Idempotent {
		_, err := path.Match(p, "")
		c.That(err == nil && p != "", "Idempotent", "%q is not a pattern", p)
	}
	option.Within(c, "MaxServices", o.MaxServices, 1, DefaultMaxServices)
	for _, service := range slices.Sorted(maps.Keys(o.ClientRates)) {
		o.ClientRates[service].check(c, "ClientRate")
	}
	option.AtLeast(c, "ClientConcurrency", o.ClientConcurrency, 0)
	if o.ServerRate != (Rate{}) {
		o.ServerRate.check(c, "ServerRate")
	}
	option.AtLeast(c, "ServerConcurrency", o.ServerConcurrency, 0)
	return c.Err()
}

func (r Rate) check(c *option.Checks, name string) {
	c.That(r.PerSecond > 0, name, "%v calls a second are not positive", r.PerSecond)
	option.AtLeast(c, name, r.Burst, 1)
}

func (r Rate) valid() bool { return r.PerSecond > 0 && r.Burst >= 1 }

// ratio returns the share of calls that may be retries: that of the option,
// else that of router-srv, else the default.
func (o Options) ratio(central float64) float64 {
	switch {
	case o.RetryRatio >= 0:
		return o.RetryRatio
	case central >= 0:
		return min(central, 1)
	}
	return DefaultRetryRatio
}

// Client sets the client that calls go.micro.srv.router. The default is a
// client of the plugin's own on the selector's registry.
// Of a client that does not speak grpc its registry, broker and wrappers apply, and
// its selector, timeouts and TLS do not: see db.Client.
func Client(c client.Client) selector.Option { return set(func(s *Options) { s.Client = c }) }

// Server sets the server of the calling service, whose name and id go into the
// statistics. The default is server.DefaultServer.
func Server(srv server.Server) selector.Option { return set(func(s *Options) { s.Server = srv }) }

// TLS sets the TLS settings for go.micro.srv.router. The default is plain text.
// It has no effect when Client is a grpc client with settings of its own.
func TLS(c *tls.Config) selector.Option { return set(func(s *Options) { s.TLS = c }) }

// Logger sets the logger that hears of loss and recovery. The default is
// slog.Default().
func Logger(l *slog.Logger) selector.Option { return set(func(s *Options) { s.Logger = l }) }

// Interval sets how often statistics are reported, from 100 ms to 10 s. The
// default is 5 s.
func Interval(d time.Duration) selector.Option { return set(func(s *Options) { s.Interval = d }) }

// Standalone keeps the router from looking for go.micro.srv.router.
func Standalone() selector.Option { return set(func(s *Options) { s.Standalone = true }) }

// Strategy sets how a node is chosen. The default is PeakEWMA. A go-micro
// strategy set with selector.SetStrategy wins over it.
func Strategy(b Balance) selector.Option {
	return set(func(s *Options) { s.Strategy = b })
}

// Zone sets the zone of the caller, at most 128 bytes. Nodes whose metadata
// "zone" equals it are preferred while at least half of them are well and, but
// for RoundRobin and Random, while they do not cost three times as much as
// others.
func Zone(name string) selector.Option { return set(func(s *Options) { s.Zone = name }) }

// Decay sets how fast a peak of latency is forgotten: after d 37 % of it are
// left. It is from 10 ms to one hour; the default is 10 s.
func Decay(d time.Duration) selector.Option { return set(func(s *Options) { s.Decay = d }) }

// Eject sets when a failing node is ejected, and for how long it gets no calls:
// after the given failures in a row (from 1 to 1000, by default 5), for first
// and then twice as long each time up to most, give or take a fifth. Both are
// from 10 ms to one hour; the defaults are 2 s and 1 min.
func Eject(failures int, first, most time.Duration) selector.Option {
	return set(func(s *Options) {
		s.Failures, s.Ejection, s.MaxEjection = failures, first, most
	})
}

// NotReady sets a function that reports whether a node says that it is not
// ready, such as the NotReady of a Monitor. Such nodes get no calls unless
// fewer than half of the nodes would be left. The function is asked ten times a
// second, not for each call. A node for which it panics is ready; while it takes more
// than a second for all nodes they stay what they were.
func NotReady(f func(node string) bool) selector.Option {
	return set(func(s *Options) { s.NotReady = f })
}

// Retries sets how often one call is tried again at most, from 0 to 10. The
// default is 2.
func Retries(n int) selector.Option { return set(func(s *Options) { s.Retries = n }) }

// RetryBudget bounds retries to a ratio of the calls of a service, from 0 to 1,
// and lets burst come at once, up to 1000. The defaults are 0.2 and 10. The
// burst does not add to the ratio: it is lent, and the first calls pay it back.
// The ratio wins over that of go.micro.srv.router.
func RetryBudget(ratio float64, burst int) selector.Option {
	return set(func(s *Options) { s.RetryRatio, s.RetryBurst = ratio, burst })
}

// Idempotent adds methods that may run twice: patterns of path.Match on
// "Handler.Method", or on "service/Handler.Method" when they have a slash.
func Idempotent(patterns ...string) selector.Option {
	return set(func(s *Options) {
		s.Idempotent = append(s.Idempotent[:len(s.Idempotent):len(s.Idempotent)], patterns...)
	})
}

// AcceptLabels sets the only labels (without LabelPrefix, in any case) that
// ClientWrapper takes from metadata. The default is all. Metadata may come from
// outside: see StripLabels.
func AcceptLabels(names ...string) selector.Option {
	return set(func(s *Options) { s.AcceptLabels = append([]string{}, names...) })
}

// StickyBy sets the metadata key whose value is a call's sticky key when its
// context has none (WithKey).
func StickyBy(key string) selector.Option { return set(func(s *Options) { s.StickyBy = key }) }

// MaxServices bounds the services that are followed at a time, from 1 to 1000.
// The default is 1000.
func MaxServices(n int) selector.Option { return set(func(s *Options) { s.MaxServices = n }) }

// ClientRate limits the calls of a service, or with "" of each service that has
// no limit of its own, per second and at once. The lower of it and the share
// that go.micro.srv.router hands out counts.
func ClientRate(service string, perSecond float64, burst int) selector.Option {
	return set(func(s *Options) {
		rates := make(map[string]Rate, len(s.ClientRates)+1)
		for k, v := range s.ClientRates {
			rates[k] = v
		}
		rates[service] = Rate{perSecond, burst}
		s.ClientRates = rates
	})
}

// ClientConcurrency limits the calls of each service that are under way to what
// its latency allows, and to most.
func ClientConcurrency(most int) selector.Option {
	return set(func(s *Options) { s.ClientConcurrency = most })
}

// ServerRate limits the calls and streams that HandlerWrapper lets in, per
// second and at once.
func ServerRate(perSecond float64, burst int) selector.Option {
	return set(func(s *Options) { s.ServerRate = Rate{perSecond, burst} })
}

// ServerConcurrency limits the calls that HandlerWrapper has under way to what
// their latency allows, and to most.
func ServerConcurrency(most int) selector.Option {
	return set(func(s *Options) { s.ServerConcurrency = most })
}
