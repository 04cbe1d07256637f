package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/auth"
	authpb "github.com/micro/go-platform/auth/proto"
	authsrv "github.com/micro/go-platform/auth/srv"
	"github.com/micro/go-platform/config"
	configpb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/examples/internal/devauth"
	shop "github.com/micro/go-platform/examples/platform/proto"
	"github.com/micro/go-platform/internal/rpc"
	monitorpb "github.com/micro/go-platform/monitor/proto"
	"github.com/micro/go-platform/router"
	routerpb "github.com/micro/go-platform/router/proto"
	"github.com/micro/go-platform/trace"
	tracepb "github.com/micro/go-platform/trace/proto"
)

// operator is who runs the platform: the account that auth-srv makes at its
// first start.
type operator struct {
	auth   auth.Auth
	client *rpc.Client
	forget func() error // the account that other examples find

	secrets map[string]string // of the accounts, by service

	accounts authpb.AccountService
	policies authpb.PolicyService
	rules    routerpb.RuleService
	configs  configpb.ConfigService
	traces   tracepb.TraceService
	monitor  monitorpb.MonitorService
}

func newOperator(p *platform, secret string, public bool) (*operator, error) {
	o := &operator{forget: func() error { return nil }, secrets: map[string]string{}}
	o.client = rpc.NewClient(rpc.Config{Registry: p.registry, Broker: p.broker})
	o.auth = auth.NewAuth(auth.Id(authsrv.AdminID), auth.Secret(secret), auth.Client(o.client))
	if err := o.auth.Start(); err != nil {
		return nil, err
	}
	c := auth.ClientWrapper(o.auth)(o.client)
	o.accounts, o.policies = authpb.NewAccountService(auth.ServiceName, c), authpb.NewPolicyService(auth.ServiceName, c)
	o.rules = routerpb.NewRuleService(router.ServiceName, c)
	o.configs = configpb.NewConfigService(config.ServiceName, c)
	o.traces = tracepb.NewTraceService(trace.ServiceName, c)
	o.monitor = monitorpb.NewMonitorService("go.micro.srv.monitor", c)
	if !public {
		return o, nil
	}
	var err error
	o.forget, err = devauth.Save(devauth.Account{ID: authsrv.AdminID, Secret: secret})
	return o, err
}

// setRules says who may call what. With the first rule everything else is
// refused.
func (o *operator) setRules(ctx context.Context) error {
	for _, r := range []*authpb.Rule{
		{Id: "platform", Roles: []string{"platform", "admin", "shop"}, Services: []string{"go.micro.srv.*"}},
		{Id: "customers-buy", Accounts: []string{"shop.customers"}, Services: []string{gatewayName}, Methods: []string{"Gateway.*"}},
		{Id: "gateways-ring", Accounts: []string{gatewayName, schedulerName}, Services: []string{gatewayName}, Methods: []string{"KV.*"}},
		{Id: "gateway-orders", Accounts: []string{gatewayName}, Services: []string{ordersName}},
		{Id: "orders-reserve", Accounts: []string{ordersName}, Services: []string{stockName}, Methods: []string{"Stock.Reserve"}},
	} {
		r.Effect = "allow"
		if _, err := o.policies.Create(ctx, &authpb.PolicyCreateRequest{Rule: r}, rpc.Options(rpc.DefaultTimeout)...); err != nil {
			return fmt.Errorf("rule %s: %w", r.Id, err)
		}
	}
	return nil
}

// prepare sets the share of the canary and the first configuration.
func (o *operator) prepare(ctx context.Context) error {
	canary := &routerpb.RuleSet{Id: "canary", Service: stockName, Version: "v2", Weight: canaryPercent}
	if _, err := o.rules.Create(ctx, &routerpb.CreateRuleRequest{Rule: canary}, rpc.Options(rpc.DefaultTimeout)...); err != nil {
		return fmt.Errorf("rule of the canary: %w", err)
	}
	set := &configpb.Change{Id: configID, ChangeSet: &configpb.ChangeSet{Data: `{"discount": 0}`}}
	if _, err := o.configs.Create(ctx, &configpb.CreateRequest{Change: set}, rpc.Options(rpc.DefaultTimeout)...); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}

// discount changes what the orders give off while they run.
func (o *operator) discount(ctx context.Context, percent int) error {
	_, err := o.configs.Update(ctx, &configpb.UpdateRequest{Change: &configpb.Change{
		Id: configID, Path: "discount", ChangeSet: &configpb.ChangeSet{Data: fmt.Sprint(percent)}, Comment: "sale",
	}}, rpc.Options(rpc.DefaultTimeout)...)
	return err
}

// member returns the Auth of a service, started. Its instances share an account.
func (o *operator) member(ctx context.Context, service string, c client.Client, says *slog.Logger, roles ...string) (auth.Auth, error) {
	secret, ok := o.secrets[service]
	if !ok {
		secret = rand.Text()
		if _, err := o.accounts.Create(ctx, &authpb.CreateRequest{Account: &authpb.Record{
			Id: service, ClientId: service, ClientSecret: secret, Type: "service", Roles: roles,
		}}, rpc.Options(rpc.DefaultTimeout)...); err != nil {
			return nil, fmt.Errorf("account %s: %w", service, err)
		}
		o.secrets[service] = secret
	}
	a := auth.NewAuth(auth.Id(service), auth.Secret(secret), auth.Client(c), auth.Logger(says))
	return a, a.Start()
}

// strangers try to buy: one without a token, one whom no rule allows it. It
// returns what they were told.
func (o *operator) strangers(ctx context.Context, p *platform) (nobody, somebody error) {
	buy := func(c client.Client) error {
		_, err := shop.NewGatewayService(gatewayName, c).Buy(ctx, &shop.BuyRequest{})
		return err
	}
	c := rpc.NewClient(rpc.Config{Registry: p.registry, Broker: p.broker})
	defer c.Close()
	a, err := o.member(ctx, "shop.stranger", c, slog.Default())
	if err != nil {
		return err, err
	}
	nobody, somebody = buy(c), buy(auth.ClientWrapper(a)(c))
	return nobody, errors.Join(somebody, a.Stop())
}

func (o *operator) stop() error {
	err := errors.Join(o.auth.Stop(), o.forget())
	o.client.Close()
	return err
}
