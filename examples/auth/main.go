// Auth runs auth-srv, a service and two callers in one process. One caller is
// allowed by a rule, the other is refused with the rule that says so; then the
// first one's account is taken away and its calls stop at once.
//
//	consul agent -dev &                     # or -registry memory
//	go run ./examples/auth
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	authsrv "github.com/micro/go-platform/auth/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpc"
)

func main() {
	kind := flag.String("registry", "consul", "consul, etcd, nats, mdns or memory")
	address := flag.String("registry_address", "", "`host:port` of the registry, empty for its usual one")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	reg, err := daemon.NewRegistry(*kind, *address)
	if err == nil {
		err = run(ctx, reg, os.Stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "auth:", err) // there is nobody else to tell
		os.Exit(1)
	}
}

// shop is what the parts of the example share.
type shop struct {
	registry registry.Registry
	broker   broker.Broker
	log      *slog.Logger
	ends     []func() error
}

func run(ctx context.Context, reg registry.Registry, out io.Writer) (err error) {
	s := &shop{registry: reg, broker: broker.NewMemoryBroker(), log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	defer func() {
		for i := len(s.ends); i > 0; i-- {
			err = errors.Join(err, s.ends[i-1]())
		}
	}()
	if err := s.broker.Connect(); err != nil {
		return err
	}
	secret := rand.Text() // a real auth-srv makes it and prints it at its first start
	srv, err := daemon.Start(ctx, authsrv.New(authsrv.Config{AdminSecret: secret, Announce: io.Discard, Issuer: "http://auth.example"}),
		daemon.Config{Registry: reg, Broker: s.broker, Logger: s.log})
	if err != nil {
		return err
	}
	s.ends = append(s.ends, srv.Stop)
	admin, err := s.administrator(ctx, secret)
	if err != nil {
		return err
	}
	return s.play(ctx, admin, out)
}

// newClient returns a grpc client of its own.
func (s *shop) newClient(wrappers ...client.Wrapper) client.Client {
	c := rpc.NewClient(rpc.Config{Registry: s.registry, Broker: s.broker, Logger: microlog.New(s.log), Wrappers: wrappers})
	s.ends = append(s.ends, func() error { c.Close(); return nil })
	return c
}

// administrator is somebody who may change accounts and rules.
type administrator struct {
	ctx      context.Context
	accounts pb.AccountService
	rules    pb.PolicyService
}

func (s *shop) administrator(ctx context.Context, secret string) (*administrator, error) {
	c := s.newClient()
	rsp, err := pb.NewOauth2Service(auth.ServiceName, c).Token(ctx, &pb.TokenRequest{
		GrantType: "client_credentials", ClientId: authsrv.AdminID, ClientSecret: secret,
	})
	if err != nil {
		return nil, err
	}
	ctx = metadata.NewContext(ctx, metadata.Metadata{auth.Header: "Bearer " + rsp.Token.AccessToken})
	return &administrator{ctx, pb.NewAccountService(auth.ServiceName, c), pb.NewPolicyService(auth.ServiceName, c)}, nil
}

// Orders is what the service offers.
type Orders struct{}

// Order is the request and the response of Place.
type Order struct{ Text string }

// Place is called as Orders.Place.
func (Orders) Place(ctx context.Context, req, rsp *Order) error {
	caller, _ := auth.TokenFromContext(ctx)
	rsp.Text = fmt.Sprintf("%s ordered %s", caller.Account(), req.Text)
	return nil
}

// play is the story.
func (s *shop) play(ctx context.Context, admin *administrator, out io.Writer) error {
	if _, err := admin.rules.Create(admin.ctx, &pb.PolicyCreateRequest{Rule: &pb.Rule{
		Id: "gateway-orders", Effect: "allow", Accounts: []string{"shop.gateway"}, Services: []string{"shop.orders"}, Methods: []string{"Orders.*"},
	}}); err != nil {
		return err
	}
	if _, err := admin.rules.Create(admin.ctx, &pb.PolicyCreateRequest{Rule: &pb.Rule{
		Id: "no-guests", Effect: "deny", Accounts: []string{"shop.guest"}, Comment: "guests look, they do not buy",
	}}); err != nil {
		return err
	}
	orders, err := s.member(admin, "shop.orders")
	if err != nil {
		return err
	}
	if err := s.serve(orders); err != nil {
		return err
	}
	gateway, err := s.member(admin, "shop.gateway")
	if err != nil {
		return err
	}
	guest, err := s.member(admin, "shop.guest")
	if err != nil {
		return err
	}
	buy, look := s.newClient(auth.ClientWrapper(gateway)), s.newClient(auth.ClientWrapper(guest))
	say := func(who string, err error, rsp *Order) {
		if err != nil {
			_, _ = fmt.Fprintf(out, "%s: refused (forbidden %t, bad token %t): %v\n", who, errors.Is(err, auth.ErrForbidden), errors.Is(err, auth.ErrInvalidToken), err) // it is only shown
			return
		}
		_, _ = fmt.Fprintf(out, "%s: %s\n", who, rsp.Text) // it is only shown
	}
	rsp, err := s.order(ctx, buy)
	say("gateway", err, rsp)
	rsp, err = s.order(ctx, look)
	say("guest", err, rsp)

	if _, err := admin.accounts.Delete(admin.ctx, &pb.DeleteRequest{Id: "shop.gateway"}); err != nil {
		return err
	}
	deleted := time.Now()
	for ctx.Err() == nil {
		if rsp, err = s.order(ctx, buy); errors.Is(err, auth.ErrInvalidToken) {
			say("gateway", err, rsp)
			_, _ = fmt.Fprintf(out, "its account was deleted %v before\n", time.Since(deleted).Round(time.Millisecond)) // it is only shown
			return nil
		}
	}
	return ctx.Err()
}

// member makes an account and starts the Auth of its service.
func (s *shop) member(admin *administrator, name string) (auth.Auth, error) {
	secret := rand.Text()
	if _, err := admin.accounts.Create(admin.ctx, &pb.CreateRequest{Account: &pb.Record{Id: name, ClientId: name, ClientSecret: secret, Type: "service"}}); err != nil {
		return nil, err
	}
	a := auth.NewAuth(auth.Id(name), auth.Secret(secret), auth.Client(s.newClient()), auth.Logger(s.log))
	s.ends = append(s.ends, a.Stop)
	if err := a.Start(); err != nil {
		return nil, err
	}
	_, err := a.Token()
	return a, err
}

// serve starts the service behind its Auth.
func (s *shop) serve(a auth.Auth) error {
	srv := mgrpc.NewServer(server.Name("shop.orders"), server.Id("1"), server.Address("127.0.0.1:0"),
		server.Registry(s.registry), server.Broker(s.broker), server.RegisterTTL(30*time.Second), server.RegisterInterval(10*time.Second),
		server.WithLogger(microlog.New(s.log)), server.WrapHandler(auth.HandlerWrapper(a)))
	if err := srv.Handle(srv.NewHandler(Orders{})); err != nil {
		return err
	}
	if err := srv.Start(); err != nil {
		return err
	}
	s.ends = append(s.ends, srv.Stop)
	return nil
}

// order tries until the service knows the rules: it has just been started.
func (s *shop) order(ctx context.Context, c client.Client) (*Order, error) {
	for {
		rsp := &Order{}
		err := c.Call(ctx, c.NewRequest("shop.orders", "Orders.Place", &Order{Text: "a book"}, client.WithContentType("application/json")), rsp)
		if err == nil || errors.Is(err, auth.ErrForbidden) || errors.Is(err, auth.ErrInvalidToken) || ctx.Err() != nil {
			return rsp, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
