package daemon

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/guard"
	authpb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/atomicfile"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
)

// ErrNoCredentials is returned by Start: nobody shall run an open service by
// accident.
var ErrNoCredentials = errors.New("this service has no account at auth-srv: give it --auth_bootstrap with the file " +
	"that auth-srv left in its data directory, or --auth_id and MICRO_AUTH_SECRET, " +
	"or --insecure if everybody who reaches it may use it")

// ErrUnknownIssuer is returned by Start: a registry to which others write must not
// decide who is sent the service's secret.
var ErrUnknownIssuer = errors.New("whoever registers as " + auth.ServiceName + " would be sent this service's secret: give it --auth_bootstrap with " +
	"the file that auth-srv left, whose second line it is known by, or --auth_address, or --auth_trust_registry if nobody else writes to the registry")

// Credentials say who a service is. With neither an id nor stored credentials
// it enrols itself, see Account.Enrol.
type Credentials struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	// Issuer is the fingerprint of auth-srv's key: the secret is sent only to a
	// server that proves to have that key. The default is what the file
	// Bootstrap says.
	Issuer string `json:"issuer,omitempty"`
	// Pending is true from before the service enrols until it knows that it has:
	// then it enrols again with the same secret, which does no harm.
	Pending bool `json:"pending,omitempty"`
	// Bootstrap is the file with the secret for enrolling, which auth-srv left
	// in its data directory. Default: BootstrapFile in the service's own.
	Bootstrap string `json:"-"`
}

// BootstrapFile is the name of the file in auth-srv's data directory with the
// secret that platform services enrol with.
const BootstrapFile = "auth-bootstrap"

// authenticated starts the plugin that authenticates callers and gives the
// service's own calls its token.
func (e *Env) authenticated(ctx context.Context, bare client.Client) error {
	if len(e.AuthAddresses) == 0 { // then the registry knows where it is
		if err := e.join(nil); err != nil {
			return err
		}
	}
	who, err := e.credentials(ctx)
	if err != nil {
		return err
	}
	if who.Issuer == "" && len(e.AuthAddresses) == 0 && !e.TrustRegistry {
		return ErrUnknownIssuer
	}
	opts := []auth.Option{auth.Id(who.ID), auth.Secret(who.Secret), auth.Service(e.Name), auth.Client(bare), auth.Logger(e.Logger), auth.Addresses(e.AuthAddresses...), auth.Fingerprint(who.Issuer), auth.TLS(e.TLS)}
	if e.DataDir != "" {
		dir, err := filepath.Abs(e.DataDir)
		if err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		opts = append(opts, auth.SnapshotFile(filepath.Join(dir, e.short()+".auth")))
	}
	a := auth.NewAuth(opts...)
	if err := a.Start(); err != nil {
		return err
	}
	e.OnStop(func(context.Context) error { return a.Stop() })
	e.watchAccount(a)
	e.awaitKeys(ctx, a)
	if f, ok := a.(interface{ Following() bool }); ok {
		e.following = f.Following
	}
	e.names, _ = a.(auth.Names)
	e.Client = auth.ClientWrapper(a)(bare)
	e.authenticate = auth.HandlerWrapper(a)
	e.judge = guard.JudgeOf(a)
	e.subscribe = auth.SubscriberWrapper(a)
	return e.join(auth.ClientWrapper(a))
}

// watchAccount makes the service unready, and says what to do, while auth-srv does
// not take its credentials. They may be made good without a restart, by an admin
// who makes the account again with the secret that the file has.
func (e *Env) watchAccount(a auth.Auth) {
	checked, ok := a.(interface{ Account() error })
	if !ok {
		return
	}
	e.Ready("account", func(context.Context) error {
		err := checked.Account()
		switch {
		case err == nil:
			return nil
		case e.Credentials.ID != "":
			return fmt.Errorf("%w: the account %q was deleted or disabled, or has another secret: correct --auth_id and MICRO_AUTH_SECRET", err, e.Credentials.ID)
		}
		return fmt.Errorf("%w: the account %s was deleted or disabled, or has another secret: if it was deleted, remove %s.credentials from the data directory "+
			"and start again with --auth_bootstrap; else write its secret there", err, e.Name, e.short())
	})
}

// keysTimeout bounds how long a start waits for what tokens are verified with.
const keysTimeout = 5 * time.Second

// awaitKeys keeps the first callers from being refused. A service whose auth-srv
// is dead serves nevertheless, and refuses until it is back.
func (e *Env) awaitKeys(ctx context.Context, a auth.Auth) {
	verifier, ok := a.(interface{ Ready() error })
	if !ok {
		return
	}
	e.Ready("auth", func(context.Context) error { return verifier.Ready() })
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	for verifier.Ready() != nil {
		select {
		case <-ctx.Done():
			e.Logger.Warn("callers are refused until auth-srv can be reached", "error", verifier.Ready())
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// issues is authenticated for the service that makes the tokens. It takes no
// messages.
func (e *Env) issues(self Issuer) error {
	e.Client = self.Identify(e.Client)
	e.authenticate = self.Authenticate
	e.judge = self.Judge
	e.identity.Store(&self.Identity)
	e.subscribe = func(server.SubscriberFunc) server.SubscriberFunc {
		return func(_ context.Context, msg server.Message) error {
			return fmt.Errorf("%s: %w", msg.Topic(), rpcerr.ErrUnauthenticated)
		}
	}
	return e.join(self.Identify)
}

// Holds returns an error unless the caller of ctx may hold the name of a
// service, see auth.Names. An insecure service lets everybody.
func (e *Env) Holds(ctx context.Context, name string) error {
	if e.Insecure {
		return nil
	}
	t, ok := auth.TokenFromContext(ctx)
	switch {
	case !ok:
		return auth.ErrInvalidToken
	case e.names == nil:
		return fmt.Errorf("names: %w", auth.ErrUnavailable)
	}
	return e.names.Holds(t, name)
}

// guard puts authenticate in. go-micro asks for it at every call.
func (e *Env) guard(next server.HandlerFunc) server.HandlerFunc {
	switch {
	case e.Insecure:
		return next
	case e.authenticate == nil: // not started yet
		return func(context.Context, server.Request, any) error {
			return merrors.New(e.Name, "not ready to authenticate", 503)
		}
	}
	return e.authenticate(next)
}

func (e *Env) guardSubscriber(next server.SubscriberFunc) server.SubscriberFunc {
	if e.Insecure {
		return next
	}
	return e.subscribe(next)
}

// bootstrapFile returns the file to enrol with, "" if there can be none.
func (e *Env) bootstrapFile() string {
	switch {
	case e.Credentials.Bootstrap != "":
		return e.Credentials.Bootstrap
	case e.DataDir != "":
		return filepath.Join(e.DataDir, BootstrapFile)
	}
	return ""
}

// credentials returns those that were configured, else those of an earlier
// start, else it enrols and stores what it got.
func (e *Env) credentials(ctx context.Context) (Credentials, error) {
	if who := e.Credentials; who.ID != "" {
		if file := e.bootstrapFile(); who.Issuer == "" && file != "" {
			b, err := readBootstrap(file)
			if err != nil && (e.Credentials.Bootstrap != "" || !errors.Is(err, os.ErrNotExist)) {
				return who, fmt.Errorf("fingerprint of %s: %w", auth.ServiceName, err)
			}
			who.Issuer = b.fingerprint
		}
		return who, nil
	}
	if e.DataDir == "" {
		return e.enrol(ctx, newSecret())
	}
	file := filepath.Join(e.DataDir, e.short()+".credentials")
	stored, err := readCredentials(file)
	switch {
	case err == nil && !stored.Pending:
		return stored, nil
	case err == nil:
	case !errors.Is(err, os.ErrNotExist):
		return stored, err
	case e.bootstrapFile() == "":
		return stored, ErrNoCredentials
	default:
		// In the file first: an account whose secret is lost on a full disk, or
		// with an answer, would need an admin.
		stored = Credentials{ID: e.Name, Secret: newSecret(), Pending: true}
		if err := writeCredentials(file, stored); err != nil {
			return Credentials{}, err
		}
	}
	got, err := e.enrol(ctx, stored.Secret)
	if err != nil {
		return Credentials{}, err
	}
	return got, writeCredentials(file, got)
}

// newSecret returns 256 random bits, as EnrolRequest wants them.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// enrol waits for auth-srv until ctx ends: at the first start of a machine the
// services come up in any order.
func (e *Env) enrol(ctx context.Context, secret string) (Credentials, error) {
	file := e.bootstrapFile()
	if file == "" {
		return Credentials{}, ErrNoCredentials
	}
	wait := backoff.Backoff{Max: 2 * time.Second}
	waiting := e.Waiting("auth-srv to enrol at", "bootstrap", file, "addresses", e.AuthAddresses)
	defer waiting.Over()
	for {
		got, err := e.enrolOnce(ctx, file, secret)
		if err == nil {
			return got, nil
		}
		if !passes(err) {
			return Credentials{}, fmt.Errorf("enrol at auth-srv: %w", err)
		}
		waiting.Tell(err)
		if wait.Wait(ctx) != nil {
			return Credentials{}, fmt.Errorf("%w: enrol at auth-srv: %w", ErrNoCredentials, err)
		}
	}
}

// passes reports whether enrolling again may succeed: nothing was wrong with what
// was sent.
func passes(err error) bool {
	for _, of := range []error{os.ErrNotExist, rpcerr.ErrUnavailable, rpcerr.ErrLimited, context.DeadlineExceeded} {
		if errors.Is(err, of) {
			return true
		}
	}
	return call.Code(err) >= 500
}

// enrolOnce sends the secret only to a server that proves to be auth-srv.
func (e *Env) enrolOnce(ctx context.Context, file, secret string) (Credentials, error) {
	b, err := readBootstrap(file)
	if err != nil {
		return Credentials{}, err
	}
	c, err := e.toIssuer(b.fingerprint)
	if err != nil {
		return Credentials{}, fmt.Errorf("%s: %w", file, err)
	}
	defer c.Close()
	req := &authpb.EnrolRequest{Id: e.Name, Secret: b.secret, ClientSecret: secret}
	var rsp *authpb.EnrolResponse
	err = rpc.NewAddrs(e.AuthAddresses...).Call(ctx, "enrol", rpc.DefaultTimeout, func(opts ...client.CallOption) (err error) {
		rsp, err = authpb.NewAccountService(auth.ServiceName, c).Enrol(ctx, req, opts...)
		return err
	})
	if errors.Is(err, rpcerr.ErrExists) {
		return Credentials{}, fmt.Errorf("%s has an account: copy the file %s.credentials of the instance that enrolled, or, if it is lost, "+
			"have an admin delete the account and start again: %w", e.Name, e.short(), err)
	}
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{ID: rsp.Account.ClientId, Secret: rsp.Account.ClientSecret, Issuer: b.fingerprint}, nil
}

// toIssuer returns a client that speaks to auth-srv alone.
func (e *Env) toIssuer(fingerprint string) (*rpc.Client, error) {
	conf := clientConfig(e.Config)
	if fingerprint == "" {
		if len(e.AuthAddresses) == 0 {
			return nil, errors.New("it has no second line to know auth-srv by, which the registry shall not decide: copy the file anew, or give --auth_address")
		}
		return rpc.NewClient(conf), nil
	}
	pinned, err := rpc.Pinned(e.TLS, auth.ServiceName, fingerprint)
	if err != nil {
		return nil, err
	}
	conf.TLS = pinned
	return rpc.NewClient(conf), nil
}

func readCredentials(file string) (c Credentials, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

func writeCredentials(file string, c Credentials) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return atomicfile.Write(file, data)
}
