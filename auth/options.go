package auth

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpc"
)

// Bounds and defaults.
const (
	// DefaultAudience is what tokens must be for unless Audience says otherwise.
	DefaultAudience = "go-platform"
	// MaxLifetime bounds the life of tokens that are taken, whatever they say.
	MaxLifetime = 24 * time.Hour
	// cacheSize to twice as many good tokens are remembered.
	cacheSize = 4096
)

// Option changes an Auth that is being made.
type Option func(*options)

type options struct {
	id, secret string
	client     client.Client
	addresses  []string
	tls        *tls.Config
	logger     *slog.Logger
	audience   string
	issuer     string
	service    string
	scopes     []string
	snapshot   string
	now        func() time.Time // of tokens; moved in tests
}

// Id is the client id of the service's account at go.micro.srv.auth.
func Id(id string) Option { return func(o *options) { o.id = id } }

// Secret is the secret of the service's account.
func Secret(secret string) Option { return func(o *options) { o.secret = secret } }

// Client is what go.micro.srv.auth is called with, client.DefaultClient unless
// given. It may be one with this Auth's ClientWrapper around it.
func Client(c client.Client) Option { return func(o *options) { o.client = c } }

// Addresses are the "host:port" of auth-srvs. One is used until it fails, then
// the next. They are never looked up: needed where the registry is a
// discovery-srv, which asks for a token first, and wherever a registry shall not
// decide who is sent the secret. Unless Client is given too, auth-srv is called
// with a client of its own.
func Addresses(addresses ...string) Option {
	return func(o *options) { o.addresses = append(o.addresses, addresses...) }
}

// TLS is used to reach go.micro.srv.auth when the client is not a grpc client
// with settings of its own.
func TLS(c *tls.Config) Option { return func(o *options) { o.tls = c } }

// Logger is told when the issuer is out of reach and back, slog.Default()
// unless given.
func Logger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// Audience is whom tokens must be for, DefaultAudience unless given.
func Audience(audience string) Option { return func(o *options) { o.audience = audience } }

// Issuer is who must have made tokens; unless given, who go.micro.srv.auth says
// with its keys.
func Issuer(issuer string) Option { return func(o *options) { o.issuer = issuer } }

// Service is the name of this service in rules, its Id unless given. The
// wrappers go by it: a caller could write another into its request.
func Service(name string) Option { return func(o *options) { o.service = name } }

// Scopes is what the own token is asked to hold, at most 64; unless given, all
// that the account may have.
func Scopes(scopes ...string) Option { return func(o *options) { o.scopes = scopes } }

// Snapshot is the absolute path of a file in which keys, rules and revocations
// are kept, so that tokens can be verified after a restart without
// go.micro.srv.auth. Whoever can write it can make tokens: it is made with mode
// 0600 and refused with any other.
func Snapshot(path string) Option { return func(o *options) { o.snapshot = path } }

func newOptions(opts []Option) options {
	o := options{audience: DefaultAudience, now: time.Now}
	for _, opt := range opts {
		opt(&o)
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	if o.service == "" {
		o.service = o.id
	}
	return o
}

func (o *options) validate() error {
	bad := func(option, why string) error {
		return fmt.Errorf("auth: option %s: %w: %s", option, ErrInvalid, why)
	}
	switch {
	case o.id != "" && !clean.Name(o.id, 128):
		return bad("Id", "must be at most 128 printable bytes")
	case (o.id == "") != (o.secret == ""):
		return bad("Secret", "Id and Secret go together")
	case len(o.secret) > 1024:
		return bad("Secret", "more than 1024 bytes")
	case !clean.Name(o.audience, 256):
		return bad("Audience", "must be 1 to 256 printable bytes")
	case len(o.issuer) > 256:
		return bad("Issuer", "more than 256 bytes")
	case !clean.Name(o.service, 256):
		return bad("Service", "must be 1 to 256 printable bytes when there is no Id")
	case len(o.scopes) > 64:
		return bad("Scopes", "more than 64")
	case o.snapshot != "" && !filepath.IsAbs(o.snapshot):
		return bad("Snapshot", "must be an absolute path")
	}
	for _, a := range o.addresses {
		if !rpc.IsAddress(a) {
			return bad("Addresses", fmt.Sprintf("%.128q is not host:port", a))
		}
	}
	for _, s := range o.scopes {
		if !clean.Name(s, 128) {
			return bad("Scopes", "each must be 1 to 128 printable bytes")
		}
	}
	return nil
}
