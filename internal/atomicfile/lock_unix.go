//go:build unix

package atomicfile

import (
	"os"
	"syscall"
)

// TryLock locks the file until it is closed or the process ends. It fails at once while
// another has the lock, in this process or in another one.
func TryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
