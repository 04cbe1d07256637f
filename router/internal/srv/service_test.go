package srv_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/router"
	routersrv "github.com/micro/go-platform/router/internal/srv"
	pb "github.com/micro/go-platform/router/proto"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// api is a router-srv of a test and its clients.
type api struct {
	net    *rpctest.Net
	srv    *daemon.Running
	router pb.RouterService
	rule   pb.RuleService
	label  pb.LabelService
	limit  pb.LimitService
}

func boot(t *testing.T, change ...func(*daemon.Config)) *api {
	t.Helper()
	net := rpctest.New(t)
	srv := net.Boot(routersrv.Service(), change...)
	c := net.Client(rpctest.GRPC)
	return &api{net, srv, pb.NewRouterService(router.ServiceName, c), pb.NewRuleService(router.ServiceName, c), pb.NewLabelService(router.ServiceName, c), pb.NewLimitService(router.ServiceName, c)}
}

// register adds nodes of stock to the registry.
func (a *api) register(t *testing.T, nodes int) {
	t.Helper()
	s := stock(nodes).Services[0]
	s.Endpoints = []*registry.Endpoint{{Name: "Stock.Read", Request: &registry.Value{Name: "x"}}}
	s.Nodes[0].Metadata = map[string]string{"zone": "near"}
	if err := a.net.Registry.Register(s); err != nil {
		t.Fatal(err)
	}
}

// refused wants 400 and the field that the name of the case begins with.
func refused(t *testing.T, name string, err error) {
	t.Helper()
	field, _, _ := strings.Cut(name, " ")
	if err == nil || !strings.Contains(err.Error(), `"code":400`) || !strings.Contains(err.Error(), strings.TrimSuffix(field, ":")) {
		t.Errorf("%s: %v", name, err)
	}
}

func TestBadRulesAndLabelsAreRefused(t *testing.T) {
	a := boot(t)
	long := strings.Repeat("x", 300)
	rule, label := canary("kept"), &pb.LabelSet{Id: "kept", Service: "stock", Weight: 100, Key: "region", Value: "eu"}
	if _, err := a.rule.Create(within(t), &pb.CreateRuleRequest{Rule: rule}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.label.Create(within(t), &pb.CreateLabelRequest{Label: label}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*pb.RuleSet){
		"rule.id: long":           func(r *pb.RuleSet) { r.Id = long },
		"rule.id: newline":        func(r *pb.RuleSet) { r.Id = "a\nb" },
		"rule.service: missing":   func(r *pb.RuleSet) { r.Service = "" },
		"rule.service: long":      func(r *pb.RuleSet) { r.Service = long },
		"rule.service: spaces":    func(r *pb.RuleSet) { r.Service = "stock " },
		"rule.version: escape":    func(r *pb.RuleSet) { r.Version = "\x1b" },
		"rule.weight: negative":   func(r *pb.RuleSet) { r.Weight = -1 },
		"rule.weight: 101":        func(r *pb.RuleSet) { r.Weight = 101 },
		"rule.priority: huge":     func(r *pb.RuleSet) { r.Priority = math.MaxInt64 },
		"rule.priority: very low": func(r *pb.RuleSet) { r.Priority = math.MinInt64 },
		"rule.key: colon":         func(r *pb.RuleSet) { r.Key = "a: b" },
		"rule.key: not ASCII":     func(r *pb.RuleSet) { r.Key = "é" },
		"rule.key: long":          func(r *pb.RuleSet) { r.Key = long },
		"rule.value: without key": func(r *pb.RuleSet) { r.Key = "" },
		"rule.value: long":        func(r *pb.RuleSet) { r.Value = long },
		"rule.value: CR and LF":   func(r *pb.RuleSet) { r.Value = "a\r\nb" },
		"rule: no request":        nil,
	} {
		var bad *pb.RuleSet
		if change != nil {
			bad = proto.CloneOf(rule)
			change(bad)
		}
		refused(t, name, second(a.rule.Update(within(t), &pb.UpdateRuleRequest{Rule: bad})))
		if bad != nil && bad.Id == "kept" {
			bad.Id = ""
		}
		refused(t, name, second(a.rule.Create(within(t), &pb.CreateRuleRequest{Rule: bad})))
	}
	for name, change := range map[string]func(*pb.LabelSet){
		"label.key: missing":     func(l *pb.LabelSet) { l.Key = "" },
		"label.weight: 1000":     func(l *pb.LabelSet) { l.Weight = 1000 },
		"label.fallback: 7":      func(l *pb.LabelSet) { l.Fallback = 7 },
		"label.service: missing": func(l *pb.LabelSet) { l.Service = "" },
	} {
		bad := proto.CloneOf(label)
		change(bad)
		refused(t, name, second(a.label.Update(within(t), &pb.UpdateLabelRequest{Label: bad})))
		refused(t, name, second(a.label.Create(within(t), &pb.CreateLabelRequest{Label: bad})))
	}
	for name, err := range map[string]error{
		"id: of Rule.Read":        second(a.rule.Read(within(t), &pb.ReadRuleRequest{})),
		"id: of Rule.Delete":      second(a.rule.Delete(within(t), &pb.DeleteRuleRequest{Id: "\x00"})),
		"id: of Label.Read":       second(a.label.Read(within(t), &pb.ReadLabelRequest{})),
		"id: of Label.Delete":     second(a.label.Delete(within(t), &pb.DeleteLabelRequest{})),
		"limit: of Rule.Search":   second(a.rule.Search(within(t), &pb.SearchRuleRequest{Limit: -1})),
		"offset: of Label.Search": second(a.label.Search(within(t), &pb.SearchLabelRequest{Offset: -1})),
		"service: of Rule.Search": second(a.rule.Search(within(t), &pb.SearchRuleRequest{Service: long})),
	} {
		refused(t, name, err)
	}
	r, err := a.rule.Search(within(t), &pb.SearchRuleRequest{})
	l, lerr := a.label.Search(within(t), &pb.SearchLabelRequest{Limit: math.MaxInt64})
	if err != nil || lerr != nil || len(r.Rules) != 1 || !proto.Equal(r.Rules[0], rule) || len(l.Labels) != 1 || !proto.Equal(l.Labels[0], label) {
		t.Errorf("bad requests changed something: %v %v %v %v", r, err, l, lerr)
	}
}

func TestRulesAndLabelsLiveTheirLives(t *testing.T) {
	a := boot(t)
	made, err := a.rule.Create(within(t), &pb.CreateRuleRequest{Rule: &pb.RuleSet{Service: "stock", Version: "2", Weight: 5}})
	if err != nil || made.Rule.Id == "" {
		t.Fatalf("create: %v, %v", made, err)
	}
	made.Rule.Weight = 50
	if _, err := a.rule.Update(within(t), &pb.UpdateRuleRequest{Rule: made.Rule}); err != nil {
		t.Fatal(err)
	}
	if r, err := a.rule.Read(within(t), &pb.ReadRuleRequest{Id: made.Rule.Id}); err != nil || r.Rule.Weight != 50 {
		t.Errorf("read: %v, %v", r, err)
	}
	if _, err := a.rule.Create(within(t), &pb.CreateRuleRequest{Rule: made.Rule}); call.Code(err) != 409 {
		t.Errorf("created twice: %v", err)
	}
	if _, err := a.rule.Delete(within(t), &pb.DeleteRuleRequest{Id: made.Rule.Id}); err != nil {
		t.Fatal(err)
	}
	label, err := a.label.Create(within(t), &pb.CreateLabelRequest{Label: &pb.LabelSet{Service: "stock", Key: "region"}})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := a.label.Read(within(t), &pb.ReadLabelRequest{Id: label.Label.Id}); err != nil || r.Label.Key != "region" {
		t.Errorf("read: %v, %v", r, err)
	}
	label.Label.Value = "eu"
	if _, err := a.label.Update(within(t), &pb.UpdateLabelRequest{Label: label.Label}); err != nil {
		t.Fatal(err)
	}
	if r, err := a.label.Search(within(t), &pb.SearchLabelRequest{Key: "region"}); err != nil || len(r.Labels) != 1 || r.Labels[0].Value != "eu" {
		t.Errorf("search: %v, %v", r, err)
	}
	if _, err := a.label.Delete(within(t), &pb.DeleteLabelRequest{Id: label.Label.Id}); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"rule read":    second(a.rule.Read(within(t), &pb.ReadRuleRequest{Id: made.Rule.Id})),
		"rule update":  second(a.rule.Update(within(t), &pb.UpdateRuleRequest{Rule: made.Rule})),
		"rule delete":  second(a.rule.Delete(within(t), &pb.DeleteRuleRequest{Id: made.Rule.Id})),
		"label read":   second(a.label.Read(within(t), &pb.ReadLabelRequest{Id: label.Label.Id})),
		"label update": second(a.label.Update(within(t), &pb.UpdateLabelRequest{Label: label.Label})),
		"label delete": second(a.label.Delete(within(t), &pb.DeleteLabelRequest{Id: label.Label.Id})),
	} {
		if call.Code(err) != 404 {
			t.Errorf("%s of what is gone: %v", name, err)
		}
	}
}

func TestLimits(t *testing.T) {
	a := boot(t)
	for name, bad := range map[string]*pb.LimitSet{
		"limit.service: no request":           nil,
		"limit.service: missing":              {RequestsPerSecond: 1},
		"limit.requests_per_second: nothing":  {Service: "stock"},
		"limit.requests_per_second: negative": {Service: "stock", RequestsPerSecond: -1},
		"limit.requests_per_second: NaN":      {Service: "stock", RequestsPerSecond: math.NaN()},
		"limit.requests_per_second: infinite": {Service: "stock", RequestsPerSecond: math.Inf(1)},
		"limit.concurrency: negative":         {Service: "stock", Concurrency: -1},
		"limit.retry_ratio: two":              {Service: "stock", RetryRatio: proto.Float64(2)},
	} {
		refused(t, name, second(a.limit.Create(within(t), &pb.CreateLimitRequest{Limit: bad})))
		refused(t, name, second(a.limit.Update(within(t), &pb.UpdateLimitRequest{Limit: bad})))
	}
	refused(t, "service: of Read", second(a.limit.Read(within(t), &pb.ReadLimitRequest{})))
	refused(t, "service: of Delete", second(a.limit.Delete(within(t), &pb.DeleteLimitRequest{})))
	refused(t, "limit: of Search", second(a.limit.Search(within(t), &pb.SearchLimitRequest{Limit: -1})))
	l := &pb.LimitSet{Service: "stock", RequestsPerSecond: 100}
	if _, err := a.limit.Create(within(t), &pb.CreateLimitRequest{Limit: l}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.limit.Create(within(t), &pb.CreateLimitRequest{Limit: l}); call.Code(err) != 409 {
		t.Errorf("created twice: %v", err)
	}
	l.Concurrency = 8
	if _, err := a.limit.Update(within(t), &pb.UpdateLimitRequest{Limit: l}); err != nil {
		t.Fatal(err)
	}
	if r, err := a.limit.Read(within(t), &pb.ReadLimitRequest{Service: "stock"}); err != nil || !proto.Equal(r.Limit, l) {
		t.Errorf("read: %v, %v", r, err)
	}
	if r, err := a.limit.Search(within(t), &pb.SearchLimitRequest{}); err != nil || len(r.Limits) != 1 {
		t.Errorf("search: %v, %v", r, err)
	}
	if _, err := a.limit.Delete(within(t), &pb.DeleteLimitRequest{Service: "stock"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.limit.Update(within(t), &pb.UpdateLimitRequest{Limit: l}); call.Code(err) != 404 {
		t.Errorf("update of what is gone: %v", err)
	}
}

// good is a report that is taken.
func good() *pb.ReportRequest {
	return &pb.ReportRequest{
		Caller: caller(1), Incarnation: "a", Seq: 1, IntervalMs: 1000,
		Stats: []*pb.Stats{{
			Service: &pb.Service{Name: "stock"}, DurationMs: 1000,
			Selected:      []*pb.Selected{{Node: &pb.Node{Id: nodeID(0)}, Success: &pb.Metrics{Count: 5, Mean: 3, Buckets: []uint32{1, 2}}}},
			EndpointStats: []*pb.EndpointStats{{Name: "Stock.Read", Success: &pb.Metrics{Count: 5, Mean: 3}}},
		}},
	}
}

func TestBadReportsAreRefused(t *testing.T) {
	a := boot(t)
	a.register(t, 2)
	for name, change := range map[string]func(*pb.ReportRequest){
		"caller.service: none":           func(r *pb.ReportRequest) { r.Caller = nil },
		"caller.node: none":              func(r *pb.ReportRequest) { r.Caller.Node = "" },
		"caller.node: newline":           func(r *pb.ReportRequest) { r.Caller.Node = "a\n" },
		"caller.zone: long":              func(r *pb.ReportRequest) { r.Caller.Zone = strings.Repeat("z", 200) },
		"incarnation: none":              func(r *pb.ReportRequest) { r.Incarnation = "" },
		"interval_ms: zero":              func(r *pb.ReportRequest) { r.IntervalMs = 0 },
		"interval_ms: long":              func(r *pb.ReportRequest) { r.IntervalMs = math.MaxInt64 },
		"stats: many":                    func(r *pb.ReportRequest) { r.Stats = make([]*pb.Stats, 300) },
		"stats.service: twice":           func(r *pb.ReportRequest) { r.Stats = append(r.Stats, r.Stats[0]) },
		"stats.service.name: none":       func(r *pb.ReportRequest) { r.Stats[0].Service = nil },
		"stats.duration: negative":       func(r *pb.ReportRequest) { r.Stats[0].DurationMs = -1 },
		"stats.duration: long":           func(r *pb.ReportRequest) { r.Stats[0].Duration = math.MaxInt64 },
		"stats.limited: negative":        func(r *pb.ReportRequest) { r.Stats[0].Limited = -1 },
		"stats.selected: many":           func(r *pb.ReportRequest) { r.Stats[0].Selected = make([]*pb.Selected, 1001) },
		"stats.selected.node.id: none":   func(r *pb.ReportRequest) { r.Stats[0].Selected[0].Node = nil },
		"stats.selected: count":          func(r *pb.ReportRequest) { r.Stats[0].Selected[0].Errors = &pb.Metrics{Count: -1} },
		"stats.selected: huge count":     func(r *pb.ReportRequest) { r.Stats[0].Selected[0].Errors = &pb.Metrics{Count: math.MaxInt64} },
		"stats.selected: NaN":            func(r *pb.ReportRequest) { r.Stats[0].Selected[0].Success.Mean = math.NaN() },
		"stats.selected: infinite":       func(r *pb.ReportRequest) { r.Stats[0].Selected[0].Success.Max = math.Inf(1) },
		"stats.selected: negative":       func(r *pb.ReportRequest) { r.Stats[0].Selected[0].Success.StdDev = -1 },
		"stats.selected: buckets":        func(r *pb.ReportRequest) { r.Stats[0].Selected[0].Success.Buckets = make([]uint32, 129) },
		"stats.selected.consecutive: -1": func(r *pb.ReportRequest) { r.Stats[0].Selected[0].Consecutive = -1 },
		"stats.endpoint_stats: many":     func(r *pb.ReportRequest) { r.Stats[0].EndpointStats = make([]*pb.EndpointStats, 300) },
		"stats.endpoint_stats.name: \\n": func(r *pb.ReportRequest) { r.Stats[0].EndpointStats[0].Name = "a\n" },
		"report: large": func(r *pb.ReportRequest) {
			r.Stats[0].Service.Metadata = map[string]string{"k": strings.Repeat("x", 5<<20)}
		},
	} {
		r := good()
		change(r)
		refused(t, name, second(a.router.Report(within(t), r)))
	}
	if rsp, err := a.router.Stats(within(t), &pb.StatsRequest{}); err != nil || len(rsp.Stats) != 0 {
		t.Errorf("bad reports left something: %v, %v", rsp, err)
	}
}

func TestSelectAndStats(t *testing.T) {
	a := boot(t)
	a.register(t, 2)
	for name, err := range map[string]error{
		"service: none":        second(a.router.Select(within(t), &pb.SelectRequest{})),
		"caller.service: none": second(a.router.Select(within(t), &pb.SelectRequest{Service: "stock", Caller: &pb.Caller{}})),
		"limit: of Stats":      second(a.router.Stats(within(t), &pb.StatsRequest{Limit: -1})),
		"client: of Stats":     second(a.router.Stats(within(t), &pb.StatsRequest{Client: "\n"})),
	} {
		refused(t, name, err)
	}
	none, err := a.router.Select(within(t), &pb.SelectRequest{Service: "nobody"})
	if err != nil || len(none.Services) != 0 || none.Stale || none.Revision == 0 {
		t.Errorf("a service that is not there: %v, %v", none, err)
	}
	selects(t, a)
	counts(t, a)
}

// selects asks for the nodes of stock, then for what changed since.
func selects(t *testing.T, a *api) {
	t.Helper()
	got, err := a.router.Select(within(t), &pb.SelectRequest{Service: "stock", Caller: caller(1)})
	if err != nil || len(got.Services) != 1 || len(got.Services[0].Nodes) != 2 || got.Expires != -1 || got.RetryRatio != 0.2 || got.Share != nil {
		t.Fatalf("select: %v, %v", got, err)
	}
	if n := got.Services[0].Nodes[0]; n.Address != "10.0.1.0" || n.Port != 80 || n.Weight != 100 || n.Metadata["zone"] != "near" {
		t.Errorf("node: %v", n)
	}
	if e := got.Services[0].Endpoints; len(e) != 1 || e[0].Name != "Stock.Read" {
		t.Errorf("endpoints: %v", e)
	}
	known := []*pb.Known{{Service: "stock", Epoch: got.Epoch, Revision: got.Revision}}
	same, err := a.router.Select(within(t), &pb.SelectRequest{Service: "stock", Caller: caller(1), Known: known})
	if err != nil || !same.Unchanged || len(same.Services) != 0 || same.Revision != got.Revision {
		t.Errorf("what is known: %v, %v", same, err)
	}
	known[0].Epoch = "another"
	if all, err := a.router.Select(within(t), &pb.SelectRequest{Service: "stock", Known: known}); err != nil || all.Unchanged || len(all.Services) != 1 {
		t.Errorf("known of another epoch: %v, %v", all, err)
	}
}

// counts reports twice and reads the statistics.
func counts(t *testing.T, a *api) {
	t.Helper()
	for range 2 { // the second is the same one sent again
		if _, err := a.router.Report(within(t), good()); err != nil {
			t.Fatal(err)
		}
	}
	stats, err := a.router.Stats(within(t), &pb.StatsRequest{Service: "stock", ByClient: true})
	if err != nil || len(stats.Stats) != 1 || stats.Stats[0].Selected[0].Success.Count != 5 || stats.Stats[0].Client.Name != "shop" {
		t.Errorf("stats: %v, %v", stats, err)
	}
	if past, err := a.router.Stats(within(t), &pb.StatsRequest{Offset: math.MaxInt64}); err != nil || len(past.Stats) != 0 {
		t.Errorf("past the end: %v, %v", past, err)
	}
}

func TestTheTopicIsTaken(t *testing.T) {
	a := boot(t)
	a.register(t, 2)
	if _, err := a.router.Select(within(t), &pb.SelectRequest{Service: "stock"}); err != nil {
		t.Fatal(err)
	}
	c := a.net.Client(rpctest.GRPC)
	s := good().Stats[0]
	s.Client = &pb.Service{Name: "old", Nodes: []*pb.Node{{Id: "old-1"}}}
	bad := proto.CloneOf(s)
	bad.Client = nil
	for _, m := range []*pb.Stats{{}, bad, s} {
		if err := c.Publish(within(t), c.NewMessage(router.StatsTopic, m)); err != nil {
			t.Fatal(err)
		}
	}
	rpctest.Eventually(t, "the topic's stats are shown", func() bool {
		r, err := a.router.Stats(within(t), &pb.StatsRequest{Client: "old-1"})
		return err == nil && len(r.Stats) == 1 && r.Stats[0].Selected[0].Success.Count == 5
	})
}

func TestTheBinary(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, 0, "--min_callers"},
		{[]string{"--min_caller", "1"}, 2, "did you mean --min_callers?"},
		{[]string{"serve"}, 2, "unexpected argument"},
		{[]string{"--window", "1ms"}, 2, "--window"},
		{[]string{"--min_callers", "0"}, 2, "--min_callers"},
		{[]string{"--ejection", "1h"}, 2, "--ejection"},
		{[]string{"--retry_ratio", "2"}, 2, "--retry_ratio"},
		{[]string{"--retry_ratio", "NaN"}, 2, "--retry_ratio"},
		{[]string{"--topic", ""}, 2, "--topic"},
	} {
		var out rpctest.Buffer
		args := append([]string{"router-srv", "--insecure", "--registry", "memory", "--broker", "memory", "--data_dir", t.TempDir()}, c.args...)
		if code := daemon.Run(t.Context(), routersrv.Service(), args, &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: code %d: %s", c.args, code, &out)
		}
	}
}

func FuzzReport(f *testing.F) {
	for _, change := range []func(*pb.ReportRequest){
		func(*pb.ReportRequest) {}, func(r *pb.ReportRequest) { r.Stats[0].Selected[0].Success = &pb.Metrics{Count: 1e9, Mean: 1e9} },
		func(r *pb.ReportRequest) { r.Stats[0].Selected[0].Consecutive = math.MaxInt64 },
	} {
		r := good()
		change(r)
		wire, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		r := &pb.ReportRequest{}
		if proto.Unmarshal(wire, r) != nil || routersrv.CheckReport(r) != nil {
			return
		}
		w := newWorld(t, 1, fast(3)...)
		if err := w.Report(r, "host", w.now); err != nil {
			t.Fatalf("a valid report is refused: %v", err)
		}
		w.Tick(w.now.Add(time.Second))
		for _, s := range w.Stats(&pb.StatsRequest{}, w.now) {
			if text := fmt.Sprint(s); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
				t.Fatalf("stats: %s", text)
			}
		}
		w.now = w.now.Add(3 * time.Hour)
		w.Tick(w.now)
		if _, callers := w.Known(); callers != 0 {
			t.Fatalf("%d callers for ever", callers)
		}
	})
}
