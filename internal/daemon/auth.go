package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/guard"
	authpb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/atomicfile"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
)

// ErrNoCredentials is returned by Start: nobody shall run an open service by
// accident.
var ErrNoCredentials = errors.New("this service has no account at auth-srv: give it --auth_bootstrap with the file " +
	"that auth-srv left in its data directory, or --auth_id and MICRO_AUTH_SECRET, " +
	"or --insecure if everybody who reaches it may use it")

// Credentials say who a service is. With neither an id nor stored credentials
// it enrols itself, see Account.Enrol.
type Credentials struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
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
	who, err := e.credentials(ctx, bare)
	if err != nil {
		return err
	}
	opts := []auth.Option{auth.Id(who.ID), auth.Secret(who.Secret), auth.Service(e.Name), auth.Client(bare), auth.Logger(e.Logger), auth.Addresses(e.AuthAddresses...)}
	if e.DataDir != "" {
		dir, err := filepath.Abs(e.DataDir)
		if err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		opts = append(opts, auth.Snapshot(filepath.Join(dir, e.short()+".auth")))
	}
	a := auth.NewAuth(opts...)
	if err := a.Start(); err != nil {
		return err
	}
	e.OnStop(func(context.Context) error { return a.Stop() })
	e.awaitKeys(ctx, a)
	if f, ok := a.(interface{ Following() bool }); ok {
		e.following = f.Following
	}
	e.Client = auth.ClientWrapper(a)(bare)
	e.authenticate = auth.HandlerWrapper(a)
	e.judge = guard.JudgeOf(a)
	e.subscribe = auth.SubscriberWrapper(a)
	return e.join(auth.ClientWrapper(a))
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
	e.subscribe = func(server.SubscriberFunc) server.SubscriberFunc {
		return func(_ context.Context, msg server.Message) error {
			return fmt.Errorf("%s: %w", msg.Topic(), rpcerr.ErrUnauthenticated)
		}
	}
	return e.join(self.Identify)
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

// credentials returns those that were configured, else those of an earlier
// start, else it enrols and stores what it got.
func (e *Env) credentials(ctx context.Context, c client.Client) (Credentials, error) {
	if e.Credentials.ID != "" {
		return e.Credentials, nil
	}
	if e.DataDir == "" {
		return e.enrol(ctx, c)
	}
	file := filepath.Join(e.DataDir, e.short()+".credentials")
	stored, err := readCredentials(file)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return stored, err
	}
	got, err := e.enrol(ctx, c)
	if err != nil {
		return Credentials{}, err
	}
	return got, writeCredentials(file, got)
}

// enrol waits for auth-srv until ctx ends: at the first start of a machine the
// services come up in any order.
func (e *Env) enrol(ctx context.Context, c client.Client) (Credentials, error) {
	file := e.Credentials.Bootstrap
	if file == "" {
		if e.DataDir == "" {
			return Credentials{}, ErrNoCredentials
		}
		file = filepath.Join(e.DataDir, BootstrapFile)
	}
	wait := backoff.Backoff{Max: 2 * time.Second}
	servers := rpc.NewAddrs(e.AuthAddresses...)
	waiting := e.Waiting("auth-srv to enrol at", "bootstrap", file, "addresses", e.AuthAddresses)
	defer waiting.Over()
	for {
		got, err := enrolOnce(ctx, servers, c, e.Name, file)
		if err == nil {
			return got, nil
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, rpcerr.ErrUnavailable) {
			return Credentials{}, fmt.Errorf("enrol at auth-srv: %w", err)
		}
		waiting.Tell(err)
		if wait.Wait(ctx) != nil {
			return Credentials{}, fmt.Errorf("%w: enrol at auth-srv: %w", ErrNoCredentials, err)
		}
	}
}

func enrolOnce(ctx context.Context, servers *rpc.Addrs, c client.Client, id, file string) (Credentials, error) {
	secret, err := os.ReadFile(file)
	if err != nil {
		return Credentials{}, err
	}
	req := &authpb.EnrolRequest{Id: id, Secret: strings.TrimSpace(string(secret))}
	var rsp *authpb.EnrolResponse
	err = servers.Call(ctx, "enrol", rpc.DefaultTimeout, func(opts ...client.CallOption) (err error) {
		rsp, err = authpb.NewAccountService(auth.ServiceName, c).Enrol(ctx, req, opts...)
		return err
	})
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{ID: rsp.Account.ClientId, Secret: rsp.Account.ClientSecret}, nil
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
