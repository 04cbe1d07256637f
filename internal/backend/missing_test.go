package backend_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/backend"
)

// record is a testing.TB that notes how a test would have ended.
type record struct {
	testing.TB
	skipped, failed string
}

func (r *record) Helper()           {}
func (r *record) Skip(args ...any)  { r.skipped = fmt.Sprint(args...) }
func (r *record) Fatal(args ...any) { r.failed = fmt.Sprint(args...) }

func TestMissingServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("GO_PLATFORM_CACHE", t.TempDir())
	t.Setenv("GO_PLATFORM_REDIS", "")
	const hint = `run "make backends"`

	t.Setenv("REQUIRE_BACKENDS", "")
	var optional record
	backend.Redis(&optional)
	if !strings.Contains(optional.skipped, hint) || optional.failed != "" {
		t.Errorf("skipped %q, failed %q; want a skip with the hint", optional.skipped, optional.failed)
	}

	t.Setenv("REQUIRE_BACKENDS", "1")
	var required record
	backend.Redis(&required)
	if !strings.Contains(required.failed, hint) || required.skipped != "" {
		t.Errorf("skipped %q, failed %q; want a failure with the hint", required.skipped, required.failed)
	}
}

func TestAddressFromTheEnvironment(t *testing.T) {
	t.Setenv("GO_PLATFORM_ETCD", "127.0.0.1:1")
	s := backend.Etcd(t)
	if s.Addr != "127.0.0.1:1" || s.URL != "http://127.0.0.1:1" {
		t.Errorf("Addr %q, URL %q; want those of the environment", s.Addr, s.URL)
	}
}

const standInVariable = "BACKEND_TEST_STAND_IN"

// TestStandIn is the test binary that TestNoServerOutlivesTheBinary kills; otherwise it does nothing.
func TestStandIn(t *testing.T) {
	if os.Getenv(standInVariable) == "" {
		return
	}
	if _, err := fmt.Fprintf(os.Stdout, "addr=%s\n", backend.Redis(t).Addr); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil { // until the end
		t.Fatal(err)
	}
}

func TestNoServerOutlivesTheBinary(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestStandIn$")
	cmd.Env = append(os.Environ(), standInVariable+"=1", "TMPDIR="+t.TempDir())
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr := readAddr(t, out)
	if conn, err := net.Dial("tcp", addr); err != nil {
		t.Errorf("the stand-in's server does not listen: %v", err)
	} else if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the stand-in ended well although it was killed")
	}
	eventually(t, func() error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil
		}
		return fmt.Errorf("%s outlives the test binary; close: %w", addr, conn.Close())
	})
}

func readAddr(t *testing.T, r io.Reader) string {
	t.Helper()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if _, addr, ok := strings.Cut(lines.Text(), "addr="); ok {
			return addr
		}
	}
	t.Fatalf("the stand-in named no address: %v", lines.Err())
	return ""
}
