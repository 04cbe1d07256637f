package router_test

import (
	"context"
	"strings"
	"testing"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
	"github.com/micro/go-platform/router"
)

// labelled is a client whose every call carries a label.
func labelled(ctx context.Context, pairs ...string) context.Context {
	for i := 0; i+1 < len(pairs); i += 2 {
		ctx = router.WithLabel(ctx, pairs[i], pairs[i+1])
	}
	return ctx
}

func TestLabelWrapper(t *testing.T) {
	rpctest.Stacks(t, func(t *testing.T, stack string) {
		w := newWorld(t, stack, router.Strategy(router.RoundRobin))
		gold := w.serve("shop", "v1", server.Metadata(map[string]string{"Env": "Staging", "tier": "gold"}))
		w.serve("shop", "v1", server.Metadata(map[string]string{"env": "staging"}))
		w.serve("shop", "v1")
		for name, c := range map[string]struct {
			opts []router.LabelOption
			ctx  context.Context
			want int // nodes that answer, 0: an error
			only string
		}{
			"none":                  {nil, t.Context(), 3, ""},
			"one":                   {nil, labelled(t.Context(), "env", "STAGING"), 2, ""},
			"all must match":        {nil, labelled(t.Context(), "ENV", "staging", "Tier", "Gold"), 1, gold.id},
			"fallback":              {nil, labelled(t.Context(), "env", "staging", "tier", "silver"), 3, ""},
			"without fallback":      {[]router.LabelOption{router.WithoutFallback()}, labelled(t.Context(), "env", "staging", "tier", "silver"), 0, ""},
			"too long":              {nil, labelled(t.Context(), "tier", strings.Repeat("x", 129)), 0, ""},
			"one that is not taken": {[]router.LabelOption{router.OnlyLabels("env")}, labelled(t.Context(), "env", "staging", "tier", "gold"), 2, ""},
		} {
			t.Run(name, func(t *testing.T) {
				for selector, under := range map[string]client.Client{"router": w.client, "go-micro": w.Client(stack, impatient)} {
					svc := echo.NewEchoService("shop", router.NewLabelWrapper(under, c.opts...))
					by := map[string]int{}
					for range 60 {
						rsp, err := svc.Call(c.ctx, &echo.Request{}, client.WithRetries(0))
						if err != nil && !w.lost(err) {
							by["error"]++
						} else if err == nil {
							by[rsp.Text]++
						}
					}
					if c.want == 0 {
						if by["error"] < 55 {
							t.Errorf("%s: no error: %v", selector, by)
						}
						continue
					}
					if len(by) != c.want || by["error"] > 0 || c.only != "" && by[c.only] == 0 {
						t.Errorf("%s: %v", selector, by)
					}
				}
			})
		}
	})
}
