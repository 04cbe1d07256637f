package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

// greeter builds the service of the first README.
func greeter(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(text), "```go\n")
	code, _, _ = strings.Cut(code, "```")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "greeter")
	build := exec.Command("go", "build", "-o", program, filepath.Join(dir, "main.go"))
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// TestReadmesServiceRuns runs the service of the first README as it stands, with
// none of ours to talk to.
func TestReadmesServiceRuns(t *testing.T) {
	addr := backend.Consul(t).Addr
	cmd := exec.Command(greeter(t), "--registry", "consul", "--registry_address", addr)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "GREETER_SECRET=secret")
	p := rpctest.StartProcess(t, cmd)
	t.Cleanup(p.Kill)
	reg := consul.NewConsulRegistry(registry.Addrs(addr))
	nodes := func() []*registry.Node {
		found, err := reg.GetService("greeter")
		if err != nil || len(found) == 0 {
			return nil
		}
		return found[0].Nodes
	}
	rpctest.Eventually(t, "it is registered, on the grpc stack", func() bool {
		all := nodes()
		return len(all) == 1 && all[0].Metadata["server"] == "grpc"
	})
	if err := p.Terminate(); err != nil {
		t.Error(err)
	}
	if left := nodes(); len(left) > 0 {
		t.Errorf("it left %v behind", left)
	}
	if out := p.Output.String(); strings.Contains(out, "panic") || strings.Contains(out, "deregister error") {
		t.Error(out)
	}
}

// A service that is wired as the README says ends well when nobody is there: no
// monitor-srv, no trace-srv, no Telegraf. Its log hears of what is lost.
func TestTheReadmesServiceEndsWell(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(greeter(t))
	cmd.Dir = dir // of its log
	cmd.Env = append(os.Environ(), "GREETER_SECRET=x", "MICRO_REGISTRY=memory", "MICRO_SERVER_ADDRESS=127.0.0.1:0")
	p := rpctest.StartProcess(t, cmd)
	t.Cleanup(p.Kill)
	rpctest.Eventually(t, "it reports to nobody", func() bool { return strings.Contains(p.Output.String(), "cannot send monitor reports") })
	if err := p.Terminate(); err != nil {
		t.Errorf("%v\n%s", err, p.Output.String())
	}
	log, err := os.ReadFile(filepath.Join(dir, "log.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), `"level":"warn"`) || !strings.Contains(string(log), "monitor: lost ") || strings.Contains(string(log), `"level":"error"`) {
		t.Errorf("its log:\n%s", log)
	}
}
