//go:build unix

package daemon_test

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
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
	if ignored(cmd.Process.Pid, syscall.SIGPIPE) {
		t.Error("programs that the service starts would outlive their readers, too")
	}
	_ = r.Close() // from here on nobody reads
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil { // it logs that it stops
		t.Errorf("ended with %v", err)
	}
}

// ignored reports whether a process ignores a signal, where the system can tell.
func ignored(pid int, sig syscall.Signal) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), "SigIgn:")
	mask, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	return err == nil && mask&(1<<(sig-1)) != 0
}
