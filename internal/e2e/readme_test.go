package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/rpctest"
)

// TestProgramsInReadmesCompile builds every program that a README shows.
func TestProgramsInReadmesCompile(t *testing.T) {
	const root = "../.."
	readmes, err := filepath.Glob(root + "/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs := 0
	for _, readme := range append(readmes, root+"/README.md") {
		text, err := os.ReadFile(readme)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "```go\n")[1:] {
			code, _, _ := strings.Cut(block, "```")
			if !strings.HasPrefix(code, "package main") {
				continue
			}
			programs++
			file := filepath.Join(t.TempDir(), "main.go")
			if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("go", "build", "-o", os.DevNull, file)
			cmd.Dir = root
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", readme, err, out)
			}
		}
	}
	if programs == 0 {
		t.Error("no README shows a program")
	}
}

// A service that is wired as the README says ends well when nobody is there: no
// monitor-srv, no trace-srv, no Telegraf. Its log hears of what is lost.
func TestTheReadmesServiceEndsWell(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```go\npackage main")
	code, _, _ := strings.Cut(rest, "```")
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/main.go", []byte("package main"+code), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", dir+"/greeter", dir+"/main.go")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(dir + "/greeter")
	cmd.Dir = dir // of its log
	cmd.Env = append(os.Environ(), "GREETER_SECRET=x", "MICRO_REGISTRY=memory", "MICRO_SERVER_ADDRESS=127.0.0.1:0")
	p := rpctest.StartProcess(t, cmd)
	defer p.Kill()
	rpctest.Eventually(t, "it reports to nobody", func() bool { return strings.Contains(p.Output.String(), "cannot send monitor reports") })
	if err := p.Terminate(); err != nil {
		t.Errorf("%v\n%s", err, p.Output.String())
	}
	log, err := os.ReadFile(dir + "/log.json")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), `"level":"warn"`) || !strings.Contains(string(log), "monitor: lost ") || strings.Contains(string(log), `"level":"error"`) {
		t.Errorf("its log:\n%s", log)
	}
}
