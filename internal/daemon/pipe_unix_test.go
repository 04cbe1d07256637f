//go:build unix

package daemon_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// The reader of a service's log dies: the service goes on.
func TestADeadReaderOfTheLogEndsNoService(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "--insecure", "--data_dir", t.TempDir(), "--registry", "memory", "--broker", "memory")
	cmd.Env = append(os.Environ(), asMain+"=1")
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close() // the process has its own
	for lines := bufio.NewScanner(r); lines.Scan() && !strings.Contains(lines.Text(), "msg=serving"); {
	}
	_ = r.Close() // from here on nobody reads
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil { // it logs that it stops
		t.Errorf("ended with %v", err)
	}
}
