package router_test

import (
	"os"
	"testing"

	"go-micro.dev/v6/selector"

	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/router/routertest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		child()
		return
	}
	if os.Getenv(inChild) != "" {
		os.Exit(m.Run())
	}
	rpctest.Main(m)
}

func TestPlatform(t *testing.T) {
	routertest.Run(t, standalone)
}

// TestGoMicro runs the suite over go-micro's own selector, which shows that it
// asks for nothing that go-micro does not promise.
func TestGoMicro(t *testing.T) {
	routertest.RunSelector(t, func(_ testing.TB, opts ...selector.Option) selector.Selector {
		return selector.NewSelector(opts...)
	})
}
