// Package srv is go.micro.srv.auth: it keeps accounts and policies, gives
// and revokes tokens by OAuth 2 over RPC and HTTP, and streams to all services
// what they need to check callers by themselves.
package srv

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/lifecycle"
)

// Config is for those who boot the service inside a process. The zero value is
// the default, but for HTTP, which is off.
type Config struct {
	HTTP            net.Listener // of the HTTP face; closed at stop
	Issuer          string
	TokenLifetime   time.Duration
	RefreshLifetime time.Duration
	KeyRotation     time.Duration
	AdminSecret     string    // of the account "admin"; made when empty
	BootstrapSecret string    // for Account.Enrol; made when empty
	Announce        io.Writer // where a first start prints the admin's secret

	secretly           bool          // Announce is told where the secret is, and not the secret
	grace, readTimeout time.Duration // shorter in tests
	share              time.Duration // between instances, likewise
}

// The defaults of Config and of the flags.
const (
	DefaultHTTPAddress     = "127.0.0.1:8092"
	DefaultTokenLifetime   = 10 * time.Minute
	DefaultRefreshLifetime = 30 * 24 * time.Hour
	DefaultKeyRotation     = 24 * time.Hour
)

// settings are those of one service.
type settings struct {
	Config
	httpAddress     string
	refreshLifetime time.Duration
	feed            *feed // once started
	identity        tls.Certificate
}

// Service returns the service for daemon.Main.
func Service() daemon.Service {
	return newService(Config{Announce: os.Stderr, secretly: !terminal(os.Stderr)})
}

// terminal reports whether a person may be reading: a secret must not be in a
// log that is kept.
func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// New returns the service for daemon.Start.
func New(c Config) daemon.Service { return newService(c) }

func newService(c Config) daemon.Service {
	s := &settings{Config: c}
	for d, or := range map[*time.Duration]time.Duration{
		&s.grace: refreshGrace, &s.share: shareInterval, &s.readTimeout: readTimeout, &s.TokenLifetime: DefaultTokenLifetime, &s.RefreshLifetime: DefaultRefreshLifetime, &s.KeyRotation: DefaultKeyRotation,
	} {
		if *d == 0 {
			*d = or
		}
	}
	return daemon.Service{
		Name:   auth.ServiceName,
		Usage:  "keeps accounts and policies, and gives and revokes tokens by OAuth 2",
		Flags:  s.flags(),
		Check:  func(env *daemon.Env) error { return errors.Join(s.validate(), env.CheckDatabase()) },
		Start:  s.start,
		Issuer: func() daemon.Issuer { return s.feed.self(s.identity) },
	}
}

func (s *settings) flags() []cli.Flag {
	duration := func(name, env, usage string, to *time.Duration) cli.Flag {
		return &cli.DurationFlag{Name: name, Usage: usage, Value: *to, Destination: to, EnvVars: []string{"MICRO_AUTH_" + env}}
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "http_address", Usage: "`HOST:PORT` of /oauth2/... and /.well-known/...; none when empty", Value: DefaultHTTPAddress, Destination: &s.httpAddress, EnvVars: []string{"MICRO_AUTH_HTTP_ADDRESS"}},
		&cli.StringFlag{Name: "issuer", Usage: "`URL` at which others reach http_address, and the iss of tokens; http://http_address when empty", Destination: &s.Issuer, EnvVars: []string{"MICRO_AUTH_ISSUER"}},
		duration("token_lifetime", "TOKEN_LIFETIME", "how long an access token is good, 10s to 24h", &s.TokenLifetime),
		duration("refresh_lifetime", "REFRESH_LIFETIME", "how long a login can be refreshed, 1m to 8760h", &s.RefreshLifetime),
		duration("key_rotation", "KEY_ROTATION", "how long a key signs, 1s to 8760h", &s.KeyRotation),
	}
}

func (s *settings) validate() error {
	for _, c := range []struct {
		name          string
		value         time.Duration
		least, utmost time.Duration
	}{
		{"token_lifetime", s.TokenLifetime, 10 * time.Second, 24 * time.Hour},
		{"refresh_lifetime", s.RefreshLifetime, time.Minute, 365 * 24 * time.Hour},
		{"key_rotation", s.KeyRotation, time.Second, 365 * 24 * time.Hour},
	} {
		if c.value < c.least || c.value > c.utmost {
			return fmt.Errorf("--%s %v: want %v to %v", c.name, c.value, c.least, c.utmost)
		}
	}
	if s.Issuer == "" {
		return nil
	}
	u, err := url.Parse(s.Issuer)
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil ||
		u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("--issuer %.64q: want https://host or http://host", s.Issuer)
	}
	return nil
}

// secure reports whether browsers reach us over TLS.
func (s *settings) secure() bool { return strings.HasPrefix(s.Issuer, "https:") }

func (s *settings) start(ctx context.Context, env *daemon.Env) error {
	listener, err := s.listen(env)
	if err != nil {
		return err
	}
	s.refreshLifetime = s.RefreshLifetime
	db, err := env.Database(ctx, migrations)
	if err != nil {
		return errors.Join(err, closeListener(listener))
	}
	if err := s.serve(ctx, env, &sqlStore{db}, listener); err != nil {
		return errors.Join(err, closeListener(listener))
	}
	return nil
}

func closeListener(l net.Listener) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

// listen opens the HTTP face, if there is one, and settles the issuer by it.
func (s *settings) listen(env *daemon.Env) (net.Listener, error) {
	l := s.HTTP
	if l == nil && s.httpAddress != "" {
		var err error
		if l, err = net.Listen("tcp", s.httpAddress); err != nil {
			return nil, fmt.Errorf("--http_address: %w", err)
		}
	}
	scheme := "http"
	if l != nil && env.TLS != nil {
		l, scheme = tls.NewListener(l, env.WebTLS()), "https" // here clients show a secret
	}
	switch {
	case s.Issuer != "":
	case l != nil:
		s.Issuer = reachable(l.Addr().String(), scheme)
	default:
		s.Issuer = auth.ServiceName
	}
	return l, nil
}

func (s *settings) serve(ctx context.Context, env *daemon.Env, store Store, listener net.Listener) error {
	hasher := newHasher()
	begin := first{dir: env.DataDir, admin: s.AdminSecret, bootstrap: s.BootstrapSecret, out: s.Announce, secretly: s.secretly}
	if err := begin.begin(ctx, store, hasher); err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	secrets, err := store.Setting(ctx, settingSecrets)
	if err != nil {
		return err
	}
	if hasher.key = []byte(secrets); secrets == "" {
		return errors.New("the database has no key for secrets: it was made by another version")
	}
	key, err := store.Setting(ctx, settingIdentity)
	if err != nil {
		return err
	}
	if s.identity, _, err = identityOf(key); err != nil {
		return err
	}
	s.feed, err = newFeed(ctx, store, env.Logger, s.Issuer, rotation{s.KeyRotation, s.TokenLifetime})
	if err != nil {
		return err
	}
	p := &provider{settings: s, store: store, clients: newClients(store, hasher, env.Logger), feed: s.feed}
	oauth := p.handler()
	shared := &sharing{decisions: s.feed.decided, store: store, log: env.Logger, instance: rand.Text(), interval: s.share}
	if err := errors.Join(
		pb.RegisterAccountHandler(env.Server, &accountHandler{p, env.Insecure}),
		pb.RegisterOauth2Handler(env.Server, &oauthHandler{p, oauth, env.Insecure}),
		pb.RegisterPolicyHandler(env.Server, &policyHandler{feed: s.feed, decisions: s.feed.decided, insecure: env.Insecure, done: env.Done, watchers: daemon.NewStreams(maxWatchers)}),
	); err != nil {
		return err
	}
	group := &lifecycle.Group{}
	env.OnStop(func(context.Context) error { return group.Stop(lifecycle.FlushTimeout) })
	if listener != nil {
		w := serveWeb(env, listener, p.face(oauth), s.readTimeout)
		env.OnStop(w.stop)
		env.Logger.Info("serving OAuth 2 over HTTP", "address", listener.Addr().String(), "issuer", s.Issuer)
		if host, _, err := net.SplitHostPort(listener.Addr().String()); err == nil && env.TLS == nil && !loopback(host) {
			env.Logger.Warn("secrets travel in the clear: --http_address is open to others and there is no --tls_cert")
		}
	}
	return group.Start(s.feed.run, shared.run)
}

func (w *web) stop(ctx context.Context) error {
	err := w.server.Shutdown(ctx)
	if served := <-w.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
