package backend_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/backend/skip"
)

const missingVariable = "BACKEND_TEST_MISSING"

// TestMissing asks for a server that the machine of TestMissingServer does not have.
func TestMissing(t *testing.T) {
	if os.Getenv(missingVariable) == "" {
		return
	}
	backend.Redis(t)
	t.Error("a server that is missing was found")
}

// TestMissingServer asks in processes of their own: go test would take the file for an input of this package, and
// not keep its result.
func TestMissingServer(t *testing.T) {
	const want = `no redis on this machine: run "make backends" or apt-get install redis-server or set GO_PLATFORM_REDIS` + "\n"
	run := func(required string) (output, noted string, err error) {
		path := filepath.Join(t.TempDir(), "skipped")
		cmd := exec.Command(os.Args[0], "-test.run=^TestMissing$", "-test.v")
		cmd.Env = append(os.Environ(), missingVariable+"=1", "PATH="+t.TempDir(), "GO_PLATFORM_CACHE="+t.TempDir(),
			"GO_PLATFORM_REDIS=", "REQUIRE_BACKENDS="+required, skip.Variable+"="+path)
		out, err := cmd.CombinedOutput()
		lines, readErr := os.ReadFile(path)
		if readErr != nil && !errors.Is(readErr, os.ErrNotExist) {
			t.Error(readErr)
		}
		return string(out), string(lines), err
	}
	if out, noted, err := run(""); err != nil || !strings.Contains(out, "--- SKIP") || !strings.Contains(out, want) || noted != want {
		t.Errorf("%v, noted %q; want a skip and its hint: %s", err, noted, out)
	}
	if out, noted, err := run("1"); err == nil || !strings.Contains(out, "--- FAIL") || !strings.Contains(out, want) || noted != "" {
		t.Errorf("%v, noted %q; want a failure with the hint: %s", err, noted, out)
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
