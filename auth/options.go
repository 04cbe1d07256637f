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

// Options are the options that all plugins share. Make them with NewOptions.
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
	// Context holds the options that belong to one plugin only.
	Context context.Context

	now func() time.Time // of tokens; moved in tests
}

// Option sets one of the Options.
type Option func(*Options)

// Id sets the client id of the service's account at the issuer of tokens.
func Id(id string) Option { return func(o *Options) { o.Id = id } }

// Secret sets the secret of the service's account.
func Secret(secret string) Option { return func(o *Options) { o.Secret = secret } }

// Client sets the client that calls go.micro.srv.auth. The default is
// client.DefaultClient. It may be a client with this Auth's ClientWrapper
// around it. Of a client that does not speak grpc its registry, broker and wrappers
// apply, and its selector, timeouts and TLS do not: see db.Client.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// Addresses adds the "host:port" of auth-srvs. One is used until it fails, then
// the next. They are never looked up: give them where the registry is a
// discovery-srv, which asks for a token first, and where the registry must not
// decide who is sent the secret. Unless Client is given too, auth-srv is called
// with a client of the plugin's own.
func Addresses(addresses ...string) Option {
	return func(o *Options) { o.Addresses = append(o.Addresses, addresses...) }
}

// TLS sets the TLS settings for go.micro.srv.auth. The default is plain text.
// It has no effect when Client is a grpc client with settings of its own.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Fingerprint sets the fingerprint of the key of go.micro.srv.auth: the second
// line of the file auth-bootstrap in its data directory. The secret is then
// sent only to a server that proves to have this key, and only that server is
// believed, whatever the registry says. The calls go over TLS by a client of
// the plugin's own; of the option TLS only the certificates to show are used.
// The default is none: any server that the registry names is believed.
func Fingerprint(of string) Option { return func(o *Options) { o.Fingerprint = of } }

// Logger sets the logger that hears when the issuer is out of reach and when it
// is back. The default is slog.Default().
func Logger(l *slog.Logger) Option { return func(o *Options) { o.Logger = l } }

// Audience sets one audience for all services. By default each token is for one
// service: a caller asks for a token for each service that it calls, and a
// service refuses tokens for others. With Audience the own token is for that
// audience, whichever service is called, and a service accepts tokens for it
// beside those for itself: whoever is sent such a token can use it at every
// service. It is for fleets in which some services still know only one
// audience.
func Audience(audience string) Option { return func(o *Options) { o.Audience = audience } }

// Issuer sets the issuer (iss) that tokens must have. The default is the one
// that go.micro.srv.auth names with its keys.
func Issuer(issuer string) Option { return func(o *Options) { o.Issuer = issuer } }

// Service sets the name of this service in rules and in the audience of tokens.
// The default is the Id. The wrappers go by it, because a caller could write
// another name into its request.
func Service(name string) Option { return func(o *Options) { o.Service = name } }

// Scopes sets the scopes that the own token is asked to hold, at most 64. The
// default is all that the account may have.
func Scopes(scopes ...string) Option { return func(o *Options) { o.Scopes = scopes } }

// SnapshotFile sets the absolute path of a file in which keys, rules and
// revocations are kept, so that tokens can be verified after a restart without
// go.micro.srv.auth. The default is none. The file is made with mode 0600 and
// refused with any other: whoever can write it can make tokens.
func SnapshotFile(path string) Option { return func(o *Options) { o.SnapshotFile = path } }
