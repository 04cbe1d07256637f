//go:build unix

package log_test

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/logtest"
)

func TestFileIsOnlyTheOwners(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "app.log")
	out := file(path, log.OutputRotate(1000, 0), log.OutputBackups(0, true))
	for i := range 100 {
		if err := out.Send(numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

// TestModeStays: a file that the operator opened to a group has a successor with the
// same mode.
func TestModeStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	out := file(path, log.OutputRotate(1000, 0), log.OutputBackups(0, true))
	for i := range 100 {
		if err := out.Send(numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode() != 0o640 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

func TestReopenAtHangup(t *testing.T) {
	// Never stopped: the last hangup may arrive when the output no longer listens,
	// at any time, and would end the process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	out := file(path, log.OutputReopen(syscall.SIGHUP))
	if err := out.(interface{ Start() error }).Start(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(out.Send(numbered(1)), out.Flush()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	exists := func() bool {
		_, err := os.Stat(path)
		return err == nil
	}
	logtest.Eventually(t, "a new file", func() bool {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		return exists()
	})
	if err := errors.Join(out.Send(numbered(2)), out.Close()); err != nil {
		t.Fatal(err)
	}
	if old, fresh := readFile(t, path+".moved"), readFile(t, path); len(old) != 1 || len(fresh) != 1 || fresh[0].Message != "2" {
		t.Errorf("%d events in the old file, %d in the new", len(old), len(fresh))
	}
}

// The limit that stands for a full disk binds the whole process: hence another.
func TestFullDiskLosesNothing(t *testing.T) {
	if path := os.Getenv("LOG_TEST_DISK"); path != "" {
		fillDisk(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "app.log")
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDiskLosesNothing$")
	cmd.Env = append(os.Environ(), "LOG_TEST_DISK="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	events := readFile(t, path)
	for i, e := range events {
		if e.Message != strconv.Itoa(i) {
			t.Fatalf("event %d is %s", i, e.Message)
		}
	}
	if len(events) != 50 {
		t.Errorf("%d events, want 50", len(events))
	}
}

func fillDisk(t *testing.T, path string) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := func(bytes uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: before.Max}); err != nil {
			t.Fatal(err)
		}
	}
	out := file(path, log.OutputInterval(time.Hour))
	// The log writes a lot while the file is truncated, as copytruncate does.
	if err := errors.Join(out.Send(numbered(-1)), out.Send(numbered(-2)), out.Flush(), os.Truncate(path, 0)); err != nil {
		t.Fatal(err)
	}
	limit(1000) // within a line
	for i := range 50 {
		if err := out.Send(numbered(i)); err != nil {
			t.Error(err)
		}
	}
	if err := out.Flush(); err == nil {
		t.Error("the disk is not full")
	}
	limit(before.Cur)
	if err := errors.Join(out.Flush(), out.Close()); err != nil {
		t.Error(err)
	}
}
