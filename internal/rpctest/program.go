package rpctest

import (
	"io"
	"os/exec"
	"path/filepath"
	"testing"
)

// Program is a service that tests start, stop, kill and start again, each time in
// a new process.
type Program struct {
	TB   testing.TB
	Path string
	Args []string
	Env  []string // nil: ours
	// Piped, when set, gets the process's standard input.
	Piped *io.Closer
	Cmd   *exec.Cmd
	Run   *Process // the newest
}

// StartProgram starts a service of internal/daemon, waits until it serves, and
// kills it when the test ends.
func StartProgram(tb testing.TB, path string, args ...string) *Program {
	tb.Helper()
	p := &Program{TB: tb, Path: path, Args: args}
	tb.Cleanup(p.Kill)
	p.Start()
	return p
}

// Start starts a process and waits until it serves.
func (p *Program) Start() {
	p.TB.Helper()
	p.Launch()
	p.Run.Serving()
}

// Launch starts a process.
func (p *Program) Launch() {
	p.TB.Helper()
	p.Cmd = exec.Command(p.Path, p.Args...)
	p.Cmd.Env = p.Env
	if p.Piped != nil {
		in, err := p.Cmd.StdinPipe()
		if err != nil {
			p.TB.Fatal(err)
		}
		*p.Piped = in
	}
	p.Run = StartProcess(p.TB, p.Cmd)
}

// Stop is SIGTERM, and waits for a clean end.
func (p *Program) Stop() {
	p.TB.Helper()
	if err := p.Run.Terminate(); err != nil {
		p.TB.Errorf("%s: %v\n%s", filepath.Base(p.Path), err, &p.Run.Output)
	}
}

// Kill is kill -9; nothing happens when the process is gone already, or never
// came up.
func (p *Program) Kill() {
	if p.Run != nil {
		p.Run.Kill()
	}
}
