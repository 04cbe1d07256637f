package auth

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"go-micro.dev/v6/client"
)

// Bounds.
const (
	// MaxLifetime bounds the life of tokens that are taken, whatever they say.
	MaxLifetime = 24 * time.Hour
	// cacheSize to twice as many good tokens are remembered.
	cacheSize = 4096
)

// Options are what the plugins share. Make them with NewOptions.
type Options struct {
	Id           string
	Secret       string
	Service      string
	Client       client.Client
	Addresses    []string
	TLS          *tls.Config
	Fingerprint  string
	Logger       *slog.Logger
	Audience     string
	Issuer       string
	Scopes       []string
	SnapshotFile string
	// Context holds the options that one plugin alone has.
	Context context.Context

	now func() time.Time // of tokens; moved in tests
}

// Option sets one of the Options.
type Option func(*Options)

// Id sets the client id of the service's account at the issuer of tokens.
func Id(id string) Option { return func(o *Options) { o.Id = id } }

// Secret sets the secret of the service's account.
func Secret(secret string) Option { return func(o *Options) { o.Secret = secret } }

// Client sets what go.micro.srv.auth is called with, by default
// client.DefaultClient. It may be one with this Auth's ClientWrapper around it.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// Addresses sets the "host:port" of auth-srvs. One is used until it fails, then
// the next. They are never looked up: needed where the registry is a
// discovery-srv, which asks for a token first, and wherever a registry shall not
// decide who is sent the secret. Unless Client is given too, auth-srv is called
// with a client of its own.
func Addresses(addresses ...string) Option {
	return func(o *Options) { o.Addresses = append(o.Addresses, addresses...) }
}

// TLS sets how to reach go.micro.srv.auth when the client is not a grpc client
// with settings of its own.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Fingerprint sets what go.micro.srv.auth is known by, the second line of the
// file auth-bootstrap in its data directory: what proves to have this key, whoever
// the registry names, and nobody else is sent the secret and believed. It is then
// called with a client of its own, over TLS, of whose other settings TLS adds the
// certificates to show.
func Fingerprint(of string) Option { return func(o *Options) { o.Fingerprint = of } }

// Logger sets who is told when the issuer is out of reach and back, by default
// slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// Audience sets one audience for all services. Unless given, each token is for
// one service: callers ask for one for each service that they call, and a
// service takes none that is for another. With it the own token is for the
// audience, whoever is called, and tokens for it are taken beside those for this
// service: whoever is sent one can use it everywhere. It is for fleets of which
// some know no better.
func Audience(audience string) Option { return func(o *Options) { o.Audience = audience } }

// Issuer sets who must have made tokens; unless given, who go.micro.srv.auth
// says with its keys.
func Issuer(issuer string) Option { return func(o *Options) { o.Issuer = issuer } }

// Service sets the name of this service in rules, its Id unless given. The
// wrappers go by it: a caller could write another into its request.
func Service(name string) Option { return func(o *Options) { o.Service = name } }

// Scopes sets what the own token is asked to hold, at most 64; unless given, all
// that the account may have.
func Scopes(scopes ...string) Option { return func(o *Options) { o.Scopes = scopes } }

// SnapshotFile sets the absolute path of a file in which keys, rules and
// revocations are kept, so that tokens can be verified after a restart without
// go.micro.srv.auth. Whoever can write it can make tokens: it is made with mode
// 0600 and refused with any other.
func SnapshotFile(path string) Option { return func(o *Options) { o.SnapshotFile = path } }
