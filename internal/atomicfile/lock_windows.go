package atomicfile

import (
	"os"

	"golang.org/x/sys/windows"
)

// TryLock locks the file until it is closed or the process ends. It fails at once while
// another has the lock, in this process or in another one.
func TryLock(f *os.File) error {
	// Far behind the content, which others may read.
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1})
}
