package config_test

import (
	"testing"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/configtest"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func TestPlatform(t *testing.T) {
	configtest.Run(t, func(_ testing.TB, opts ...config.Option) config.Config { return config.NewConfig(opts...) })
}
