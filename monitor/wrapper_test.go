package monitor_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/monitor/recorder"
)

type counts struct{ success, errors, dropped int64 }

// measured sums up what a recorder saw of an endpoint.
func measured(m *recorder.Recorder, side recorder.Side, service, method string) (c counts) {
	for _, e := range m.Endpoints() {
		if e.Side == side && e.Service == service && e.Method == method {
			c.success += e.Success.Count
			c.errors += e.Errors.Count
			c.dropped += e.Dropped.Count
		}
	}
	return c
}

func TestWrappersMeasureOnBothStacks(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		rpctest.Whole(t, func() bool { return measureCalls(t, stack) })
	})
}

// measureCalls returns false when the rpc stack lost a call.
func measureCalls(t *testing.T, stack string) (whole bool) {
	net := rpctest.New(t)
	s := net.Server(stack, "echo")
	there := recorder.NewMonitor(monitor.Server(s), monitor.Interval(monitor.MinInterval))
	here := recorder.NewMonitor(monitor.Server(idle("caller")), monitor.Interval(monitor.MinInterval))
	w := &world{Net: net, t: t}
	w.run(there)
	w.run(here)
	if err := s.Init(server.WrapHandler(monitor.HandlerWrapper(there)), server.WrapSubscriber(monitor.SubscriberWrapper(there))); err != nil {
		t.Fatal(err)
	}
	e := &rpctest.Echo{}
	if err := echo.RegisterEchoHandler(s, e); err != nil {
		t.Fatal(err)
	}
	events := subscriber{}
	if err := s.Subscribe(s.NewSubscriber(rpctest.Topic, events.event)); err != nil {
		t.Fatal(err)
	}
	net.Start(s)
	c := net.Client(stack, monitor.ClientWrapper(here))
	svc := echo.NewEchoService("echo", c)
	ctx := metadata.NewContext(context.Background(), metadata.Metadata{"x-test": "1"})

	once := client.WithRetries(0)
	rsp, err := svc.Call(ctx, &echo.Request{}, once)
	if rpctest.Lost(stack, err) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := metadata.Metadata(rsp.Metadata).Get("x-test"); v != "1" {
		t.Errorf("metadata: %v", rsp.Metadata)
	}
	for _, code := range []int32{500, 408} {
		_, err := svc.Call(ctx, &echo.Request{Fail: code}, once)
		if rpctest.Lost(stack, err) {
			return false
		}
		if call.Code(err) != code {
			t.Errorf("%d: %v", code, err)
		}
	}
	if err := rpctest.Converse(ctx, svc, 3, &echo.Request{End: true}); err != nil {
		t.Error(err)
	}
	if err := rpctest.Converse(ctx, svc, 1, &echo.Request{Fail: 500}); err == nil {
		t.Error("failing stream: no error")
	}
	for _, fail := range []int32{0, 500} {
		if err := c.Publish(ctx, c.NewMessage(rpctest.Topic, &echo.Event{Fail: fail})); err != nil && fail == 0 {
			t.Error(err)
		}
	}
	for _, want := range []struct {
		m       *recorder.Recorder
		side    recorder.Side
		service string
		method  string
		counts  counts
	}{
		{here, recorder.Client, "echo", "Echo.Call", counts{1, 1, 1}},
		{here, recorder.Client, "echo", "Echo.Stream", counts{1, 1, 0}},
		{there, recorder.Server, "echo", "Echo.Call", counts{1, 1, 1}},
		{there, recorder.Server, "echo", "Echo.Stream", counts{1, 1, 0}},
		{there, recorder.Subscriber, "", rpctest.Topic, counts{1, 1, 0}},
	} {
		var got counts
		for deadline := time.Now().Add(time.Minute); got != want.counts; time.Sleep(2 * time.Millisecond) {
			if got = measured(want.m, want.side, want.service, want.method); time.Now().After(deadline) {
				t.Errorf("%v %s: %v, want %v", want.side, want.method, got, want.counts)
				break
			}
		}
	}
	rpctest.Eventually(t, "both publications are measured", func() bool {
		got := measured(here, recorder.Publisher, "", rpctest.Topic)
		return got.success+got.errors == 2
	})
	return true
}

type subscriber struct{}

func (subscriber) event(_ context.Context, event *echo.Event) error {
	if event.Fail != 0 {
		return errors.New("told to fail")
	}
	return nil
}

// claims is a request whose sender chose the service's name.
type claims struct{ server.Request }

func (claims) Service() string  { return "somebody.else" }
func (claims) Method() string   { return "Echo.Call" }
func (claims) Endpoint() string { return "Echo.Call" }

func TestHandlerWrapperRecordsPanicsAndLetsThemGo(t *testing.T) {
	m := recorder.NewMonitor(monitor.Server(idle("echo")), monitor.Interval(monitor.MinInterval))
	w := &world{t: t}
	w.run(m)
	handler := monitor.HandlerWrapper(m)(func(context.Context, server.Request, any) error { panic("told to") })
	func() {
		defer func() {
			if p := recover(); p != "told to" {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = handler(context.Background(), claims{}, nil) // panics
	}()
	// Recorded under the own name, whatever the caller claims.
	rpctest.Eventually(t, "the panic is an error", func() bool {
		return measured(m, recorder.Server, "echo", "Echo.Call") == counts{0, 1, 0}
	})
}
