//go:build unix

package synctest

import (
	"os"
	"syscall"
)

// pause stops the process until resume, as a long collection of garbage or a
// suspended machine would.
func pause(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
