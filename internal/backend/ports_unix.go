//go:build unix

package backend

import (
	"os"
	"syscall"
)

// tryLock locks the file until it is closed. It fails at once while another has the lock.
func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
