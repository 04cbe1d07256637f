// Labels runs a greeter in two versions, one of them a canary behind rules that
// router-srv keeps: a fifth of the users, always the same ones, and whoever
// carries the label beta=yes. Then the canary is taken out of service.
//
//	consul agent -dev &                     # or -registry memory
//	go run ./examples/labels
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/examples/router/stage"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/router"
	pb "github.com/micro/go-platform/router/proto"
)

func main() { stage.Main("labels", run) }

// Greeter answers with its version.
type Greeter struct{ version string }

// Hello is called as Greeter.Hello.
func (g *Greeter) Hello(_ context.Context, _, rsp *stage.Name) error {
	rsp.Name = g.version
	return nil
}

func run(ctx context.Context, reg registry.Registry, out io.Writer) (err error) {
	s, err := stage.New(ctx, reg, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, version := range []string{"v1", "v1", "v2"} {
		if _, err := s.Node(version, nil, &Greeter{version}); err != nil {
			return err
		}
	}
	c, r, err := s.Caller(router.AcceptLabels("beta"))
	if err != nil {
		return err
	}
	rules := pb.NewRuleService(router.ServiceName, s.Client())
	d := &demo{ctx: ctx, client: c, router: r, rules: rules, out: out}
	d.round("no rule")
	d.rule(&pb.RuleSet{Id: "canary", Service: stage.Service, Version: "v2", Weight: 20, Priority: 1})
	d.rule(&pb.RuleSet{Id: "testers", Service: stage.Service, Version: "v2", Weight: 100, Priority: 2, Key: "beta", Value: "yes"})
	d.round("a canary of 20 %, all of it for testers")
	d.rule(&pb.RuleSet{Id: "stop", Service: stage.Service, Version: "v2", Weight: 0, Priority: 3})
	d.round("out of service")
	return d.err
}

// demo stops doing anything at the first error.
type demo struct {
	ctx    context.Context
	client client.Client
	router router.Router
	rules  pb.RuleService
	out    io.Writer
	last   string // rule
	err    error
}

// rule hands router-srv a rule, as an operator would with grpcurl.
func (d *demo) rule(r *pb.RuleSet) {
	if d.err == nil {
		_, d.err = d.rules.Create(d.ctx, &pb.CreateRuleRequest{Rule: r}, rpc.Options(2*time.Second)...)
		d.last = r.Id
	}
}

// round calls as a hundred users, then as a tester, and prints why.
func (d *demo) round(title string) {
	d.greet(d.ctx) // so that the router follows the service
	d.wait()
	users := map[string]int{}
	for i := range 100 {
		user := router.WithKey(d.ctx, fmt.Sprint("user-", i))
		first := d.greet(user)
		if again := d.greet(user); d.err == nil && again != first {
			d.err = fmt.Errorf("user %d went to %s, then to %s", i, first, again)
		}
		users[first]++
	}
	tester := d.greet(router.WithLabel(d.ctx, "beta", "yes"))
	if d.err != nil {
		return
	}
	e, err := d.router.Explain(stage.Service)
	if d.err = err; err == nil {
		_, _ = fmt.Fprintf(d.out, "%s: of 100 users %d go to v1 and %d to v2, testers to %s\n%s\n", title, users["v1"], users["v2"], tester, e) // it is only shown
	}
}

func (d *demo) greet(ctx context.Context) string {
	if d.err != nil {
		return ""
	}
	var rsp stage.Name
	d.err = d.client.Call(ctx, stage.Request(d.client, "Greeter.Hello", "John"), &rsp)
	return rsp.Name
}

// wait until the last rule has reached the caller, which takes milliseconds.
func (d *demo) wait() {
	for deadline := time.Now().Add(10 * time.Second); d.err == nil && d.last != "" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		e, err := d.router.Explain(stage.Service, router.CallsWithLabel("beta", "yes"))
		if err != nil {
			d.err = err
			return
		}
		for _, v := range e.Versions {
			if v.Version == "v2" && strings.HasPrefix(v.Reason, "rule "+d.last+":") {
				return
			}
		}
	}
}
