package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestThePlatformKeepsItsPromises(t *testing.T) {
	var out rpctest.Buffer
	code, err := run(context.Background(), settings{duration: 8 * time.Second, every: 2 * time.Second, rate: 50, bound: 30 * time.Second, registry: "memory"}, &out)
	t.Log(out.String())
	if err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	for _, want := range []string{
		"calls/s", "Stock.Reserve", "shop.orders", "DEGRADED", "stock serves", "rule canary", "no rule matches", "kept",
		"kept     a change of configuration", "kept     of every order", "kept     sessions survive",
		"kept     a paused leader's late write is refused (scheduler-", "stale fencing token", "kept     each order is settled once",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, c := range []settings{
		{every: time.Millisecond, rate: 1}, {every: time.Second, rate: 0}, {every: time.Second, rate: 1, duration: -1},
	} {
		if code, err := run(context.Background(), c, new(rpctest.Buffer)); code != 2 || err == nil {
			t.Errorf("%+v: exit code %d, %v", c, code, err)
		}
	}
}
