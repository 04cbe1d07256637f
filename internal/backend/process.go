package backend

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a child that has been started; it ends with the test binary at the latest.
type process struct {
	cmd    *exec.Cmd
	quit   syscall.Signal
	exited chan struct{}
	err    error // how it ended; read only after exited is closed
}

func startProcess(argv, env []string, dir string, quit syscall.Signal) (*process, error) {
	out, err := os.OpenFile(outputPath(dir), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the output file: %w", err)
	}
	defer func() { _ = out.Close() }() // the child writes through a descriptor of its own
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = dieWithParent()
	p := &process{cmd: cmd, quit: cmp.Or(quit, syscall.SIGTERM), exited: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	return p, nil
}

// run keeps the thread that forked for as long as the child lives: the kernel takes the end of that thread for
// the death of the parent, and a thread of Go's pool ends when some test leaves it locked.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.exited)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
	}
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// stop asks politely and gives the process a while to write what it must.
func (p *process) stop(patience time.Duration) {
	if runtime.GOOS == "windows" { // which cannot ask
		p.kill()
		return
	}
	p.signal(p.quit)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.kill()
	}
}

func (p *process) signal(sig syscall.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		// The only other cause is a bug here: the child is ours and has not been waited for.
		panic(fmt.Sprintf("backend: signal %v to our own child: %v", sig, err))
	}
}

func outputPath(dir string) string { return dir + "/output.log" }

// tail returns the end of what the server has printed, for error messages.
func tail(dir string) string {
	const lines, size = 30, 8 << 10
	text, err := os.ReadFile(outputPath(dir))
	if err != nil {
		return fmt.Sprintf("(no output: %v)", err)
	}
	if len(text) > size {
		text = text[len(text)-size:]
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
