package daemon_test

import (
	"os"
	"os/exec"
	"testing"

	discoverysrv "github.com/micro/go-platform/discovery/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/membroker"
	"github.com/micro/go-platform/internal/rpctest"
)

// asMain makes the test binary behave as a service's: go-micro's clients of
// etcd and nats cannot be closed, so what uses them runs in its own process.
const asMain = "GO_PLATFORM_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		os.Exit(daemon.Main(service(nil)))
	}
	rpctest.Main(m)
}

// Serving is logged once the registry knows the node, so these prove more than
// that the flags are read.
func TestProcessesOnRealRegistriesAndBrokers(t *testing.T) {
	for _, c := range []struct {
		name string
		args func(t *testing.T) []string
	}{
		{"memory", func(*testing.T) []string {
			return []string{"--registry", "memory", "--broker", "http", "--broker_address", "127.0.0.1:0"}
		}},
		{"platform", func(t *testing.T) []string {
			return []string{"--registry", "platform", "--registry_address", discoveryServer(t), "--broker", "memory"}
		}},
		{"consul", func(t *testing.T) []string {
			return []string{"--registry", "consul", "--registry_address", backend.Consul(t).Addr, "--broker", "memory"}
		}},
		{"etcd", func(t *testing.T) []string {
			return []string{"--registry", "etcd", "--registry_address", backend.Etcd(t).Addr, "--broker", "memory"}
		}},
		{"nats", func(t *testing.T) []string {
			addr := backend.NATS(t).Addr
			return []string{"--registry", "nats", "--registry_address", addr, "--broker", "nats", "--broker_address", addr}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"--insecure", "--data_dir", t.TempDir()}, c.args(t)...)
			cmd := exec.Command(os.Args[0], args...)
			cmd.Env = append(os.Environ(), asMain+"=1")
			p := rpctest.StartProcess(t, cmd)
			t.Cleanup(p.Kill)
			p.Serving()
			if err := p.Terminate(); err != nil {
				t.Fatalf("after SIGTERM: %v\n%s", err, &p.Output)
			}
		})
	}
}

// discoveryServer returns the address of a discovery-srv in this process that is
// the registry itself.
func discoveryServer(t *testing.T) string {
	brk, err := membroker.New()
	if err != nil {
		t.Fatal(err)
	}
	r, err := daemon.Start(t.Context(), discoverysrv.New(), daemon.Config{Broker: brk, Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r.Address()
}
