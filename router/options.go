package router

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"path"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/router/internal/balance"
)

// Defaults and bounds of the options.
const (
	DefaultInterval    = 5 * time.Second // of statistics
	DefaultRetries     = 2               // of one call, beside its first try
	DefaultRetryRatio  = 0.2             // of all calls
	DefaultRetryBurst  = 10
	DefaultMaxServices = 1000

	MinInterval = 100 * time.Millisecond
	MaxInterval = 10 * time.Second
)

// settings are the options of this package. Like go-micro's selectors a Router
// takes selector.Options and finds its own in their context.
type settings struct {
	client      client.Client
	server      server.Server
	tls         *tls.Config
	logger      *slog.Logger
	interval    time.Duration
	balance     balance.Config
	retries     int
	retryRatio  float64 // below 0: what router-srv says, else the default
	retryBurst  int
	idempotent  []string
	accept      []string // labels; nil: all
	sticky      string   // metadata key
	notReady    func(node string) bool
	maxServices int
	standalone  bool
	clientRates map[string]rateLimit
	adaptive    int // calls at a time per service, at most; 0: not limited
	serverRate  rateLimit
	serverMost  int
}

type rateLimit struct {
	perSecond float64
	burst     int
}

type settingsKey struct{}

func set(change func(*settings)) selector.Option {
	return func(o *selector.Options) {
		if o.Context == nil {
			o.Context = context.Background()
		}
		s := settingsOf(o)
		change(&s)
		o.Context = context.WithValue(o.Context, settingsKey{}, s)
	}
}

func settingsOf(o *selector.Options) settings {
	if o.Context != nil {
		if s, ok := o.Context.Value(settingsKey{}).(settings); ok {
			return s
		}
	}
	return settings{
		interval: DefaultInterval, retries: DefaultRetries, retryRatio: -1, retryBurst: DefaultRetryBurst,
		maxServices: DefaultMaxServices,
	}
}

// Client is what go.micro.srv.router is called with. Unless given, a client of
// its own on the selector's registry.
func Client(c client.Client) selector.Option { return set(func(s *settings) { s.client = c }) }

// Server is the server of the calling service, whose name and id go into the
// statistics; server.DefaultServer unless given.
func Server(srv server.Server) selector.Option { return set(func(s *settings) { s.server = srv }) }

// TLS is used to reach go.micro.srv.router when the client is not a grpc client
// with settings of its own.
func TLS(c *tls.Config) selector.Option { return set(func(s *settings) { s.tls = c }) }

// Logger is told of loss and recovery, slog.Default() unless given.
func Logger(l *slog.Logger) selector.Option { return set(func(s *settings) { s.logger = l }) }

// Interval is how often statistics are reported, 100 ms to 10 s, default 5 s.
func Interval(d time.Duration) selector.Option { return set(func(s *settings) { s.interval = d }) }

// Standalone keeps the router from looking for go.micro.srv.router.
func Standalone() selector.Option { return set(func(s *settings) { s.standalone = true }) }

// Strategy is how a node is chosen, default PeakEWMA. A go-micro strategy set
// with selector.SetStrategy wins over it.
func Strategy(b Balance) selector.Option {
	return set(func(s *settings) { s.balance.Strategy = balance.Strategy(b) })
}

// Zone is where the caller runs. Nodes whose metadata "zone" equals it are
// preferred while at least half of them are well and, but for RoundRobin and
// Random, while they do not cost three times as much as others.
func Zone(name string) selector.Option { return set(func(s *settings) { s.balance.Zone = name }) }

// Decay is how fast a peak of latency is forgotten: after d 37 % of it are left.
// Default 10 s.
func Decay(d time.Duration) selector.Option { return set(func(s *settings) { s.balance.Decay = d }) }

// Eject sets when and how long a node that fails gets no calls: after so many
// failures in a row (default 5), for first (2 s) and twice as long each time up
// to most (1 min), give or take a fifth.
func Eject(failures int, first, most time.Duration) selector.Option {
	return set(func(s *settings) {
		s.balance.Consecutive, s.balance.BaseEjection, s.balance.MaxEjection = failures, first, most
	})
}

// NotReady tells which nodes say that they are not ready: monitor.NotReady of
// a Monitor. They get no calls unless that would leave fewer than half of the
// nodes. It is asked ten times a second, not for each call.
func NotReady(f func(node string) bool) selector.Option {
	return set(func(s *settings) { s.notReady = f })
}

// Retries is how often one call is tried again at most, 0 to 10, default 2.
func Retries(n int) selector.Option { return set(func(s *settings) { s.retries = n }) }

// RetryBudget bounds retries to a ratio of the calls of a service, 0 to 1, and
// lets burst come at once. Default 0.2 and 10. The burst is no addition: it is
// lent, and the first calls pay it back. The ratio wins over that of
// go.micro.srv.router.
func RetryBudget(ratio float64, burst int) selector.Option {
	return set(func(s *settings) { s.retryRatio, s.retryBurst = ratio, burst })
}

// Idempotent names methods that may run twice: patterns of path.Match on
// "Handler.Method", or on "service/Handler.Method" when they have a slash.
func Idempotent(patterns ...string) selector.Option {
	return set(func(s *settings) {
		s.idempotent = append(s.idempotent[:len(s.idempotent):len(s.idempotent)], patterns...)
	})
}

// AcceptLabels names the only labels (without LabelPrefix, in any case) that
// ClientWrapper takes from metadata. Default all. Metadata may come from
// outside: see StripLabels.
func AcceptLabels(names ...string) selector.Option {
	return set(func(s *settings) { s.accept = append([]string{}, names...) })
}

// StickyBy names the metadata whose value is a call's sticky key when its
// context has none (WithKey).
func StickyBy(key string) selector.Option { return set(func(s *settings) { s.sticky = key }) }

// MaxServices bounds the services that are followed at a time, 1 to 1000.
func MaxServices(n int) selector.Option { return set(func(s *settings) { s.maxServices = n }) }

// ClientRate limits the calls of a service, or with "" of each service that has
// no limit of its own, per second and at once. The lower of it and the share
// that go.micro.srv.router hands out counts.
func ClientRate(service string, perSecond float64, burst int) selector.Option {
	return set(func(s *settings) {
		rates := make(map[string]rateLimit, len(s.clientRates)+1)
		for k, v := range s.clientRates {
			rates[k] = v
		}
		rates[service] = rateLimit{perSecond, burst}
		s.clientRates = rates
	})
}

// ClientConcurrency limits the calls of each service that are under way to what
// its latency allows, and to most.
func ClientConcurrency(most int) selector.Option { return set(func(s *settings) { s.adaptive = most }) }

// ServerRate limits the calls and streams that HandlerWrapper lets in, per
// second and at once.
func ServerRate(perSecond float64, burst int) selector.Option {
	return set(func(s *settings) { s.serverRate = rateLimit{perSecond, burst} })
}

// ServerConcurrency limits the calls that HandlerWrapper has under way to what
// their latency allows, and to most.
func ServerConcurrency(most int) selector.Option {
	return set(func(s *settings) { s.serverMost = most })
}

func newSettings(o *selector.Options) settings {
	s := settingsOf(o)
	s.balance.Fill()
	if s.server == nil {
		s.server = server.DefaultServer
	}
	s.logger = cmp.Or(s.logger, slog.Default())
	return s
}

func (s *settings) validate() error {
	if err := s.balance.Validate(); err != nil {
		return fmt.Errorf("router: options Strategy, Decay, Eject: %w: %w", ErrInvalid, err)
	}
	for name, ok := range map[string]bool{
		"Interval":          s.interval >= MinInterval && s.interval <= MaxInterval,
		"Retries":           s.retries >= 0 && s.retries <= 10,
		"RetryBudget":       s.retryRatio <= 1 && (s.retryRatio >= 0 || s.retryRatio == -1) && s.retryBurst >= 0 && s.retryBurst <= 1000,
		"MaxServices":       s.maxServices >= 1 && s.maxServices <= DefaultMaxServices,
		"ClientConcurrency": s.adaptive >= 0,
		"ServerConcurrency": s.serverMost >= 0,
		"ServerRate":        s.serverRate.valid() || s.serverRate == rateLimit{},
		"Zone":              s.balance.Zone == "" || clean.Name(s.balance.Zone, 128),
	} {
		if !ok {
			return fmt.Errorf("router: option %s: %w: out of bounds", name, ErrInvalid)
		}
	}
	for service, r := range s.clientRates {
		if !r.valid() {
			return fmt.Errorf("router: option ClientRate: %w: %v a second, %d at once for %q", ErrInvalid, r.perSecond, r.burst, service)
		}
	}
	for _, p := range s.idempotent {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return fmt.Errorf("router: option Idempotent: %w: pattern %q", ErrInvalid, p)
		}
	}
	return nil
}

func (r rateLimit) valid() bool { return r.perSecond > 0 && r.burst >= 1 }

// ratio is what retries may be of calls: the option's, else that of router-srv,
// else the default.
func (s *settings) ratio(central float64) float64 {
	switch {
	case s.retryRatio >= 0:
		return s.retryRatio
	case central >= 0:
		return min(central, 1)
	}
	return DefaultRetryRatio
}
