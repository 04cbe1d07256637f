package rpctest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Process is a service in a process of its own.
type Process struct {
	Cmd    *exec.Cmd
	Output Buffer // of its standard output and error
	tb     testing.TB
	ended  chan struct{}
	err    error // read only after ended is closed
}

// StartProcess starts a command. The test has to Kill it, in a Cleanup: which of
// several ends first is its choice.
func StartProcess(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	p := &Process{Cmd: cmd, tb: tb, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.Output, &p.Output
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = cmd.Wait()
	}()
	return p
}

// Serving waits until a service of internal/daemon says that it serves.
func (p *Process) Serving() {
	p.tb.Helper()
	Eventually(p.tb, filepath.Base(p.Cmd.Path)+" serves", func() bool { return strings.Contains(p.Output.String(), "msg=serving") })
}

// Kill is kill -9; nothing happens when the process is gone already.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill() // fails when it has ended
	<-p.ended
}

// Terminate sends SIGTERM and returns how the process ended.
func (p *Process) Terminate() error {
	p.tb.Helper()
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.tb.Fatal(err)
	}
	return p.Wait()
}

// Wait waits for the end of the process and returns how it ended.
func (p *Process) Wait() error {
	<-p.ended
	return p.err
}
