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

// TestReadmesServiceRuns runs the service of the first README as it stands, with
// none of ours to talk to.
func TestReadmesServiceRuns(t *testing.T) {
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
	addr := backend.Consul(t).Addr
	cmd := exec.Command(program, "--registry", "consul", "--registry_address", addr)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GREETER_SECRET=secret")
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
	_ = p.Terminate() // it may tell what it could not deliver
	if left := nodes(); len(left) > 0 {
		t.Errorf("it left %v behind", left)
	}
	if out := p.Output.String(); strings.Contains(out, "panic") || strings.Contains(out, "deregister error") {
		t.Error(out)
	}
}
