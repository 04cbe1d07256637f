//go:build unix

package stdout_test

import (
	"bufio"
	"os"
	"os/exec"
	"testing"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/stdout"
)

// asProgram, set in the environment, makes the test binary a program that logs to
// standard output, one event for each line of its input.
const asProgram = "STDOUT_TEST_PROGRAM"

func program() int {
	l := log.NewLog(log.WithOutput(stdout.NewOutput(quiet())))
	if err := l.Start(); err != nil {
		return 3
	}
	// A program that it starts is ended by the signal, as programs are.
	if err := exec.Command("sh", "-c", "kill -PIPE $$").Run(); err == nil {
		return 5
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		l.Info(in.Text())
	}
	if err := l.Stop(); err == nil || l.Dropped() == 0 {
		return 4
	}
	return 0
}

// The reader of standard output dies: the program goes on, and counts.
func TestADeadReaderEndsNoProgram(t *testing.T) {
	if os.Getenv(asProgram) != "" {
		os.Exit(program())
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestADeadReaderEndsNoProgram$")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout = w
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close() // the program has its own
	if _, err := in.Write([]byte("first\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_ = r.Close() // from here on nobody reads
	if _, err := in.Write([]byte("second\n")); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
}
