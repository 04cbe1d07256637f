// Package atomicfile replaces files that must never be seen half written:
// snapshots and secrets. It also locks files that one process may use.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

// Write makes the file at path hold data, with mode 0600 whatever it had before.
// Readers and crashes see the old file or the new one, and after Write returned
// nil the new one. The directory must be there; on an error nothing is left in
// it but what was there before.
func Write(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // of mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what matters is why it was not written
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename outlive a loss of power.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // which cannot
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
