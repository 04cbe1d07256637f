package backend

import (
	"os"
	"os/exec"
	"path/filepath"
)

// cacheDir is where install.sh puts what it builds and fetches.
func cacheDir() string {
	if dir := os.Getenv("GO_PLATFORM_CACHE"); dir != "" {
		return dir
	}
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "" // nothing is found below it, which is the truth
		}
		base = filepath.Join(home, ".cache")
	}
	return filepath.Join(base, "go-platform")
}

// program finds the first of the names. Debian keeps some servers out of the PATH of ordinary users.
func program(names ...string) func() (string, bool) {
	return func() (string, bool) {
		for _, name := range names {
			for _, path := range []string{
				name,
				filepath.Join(cacheDir(), "bin", name),
				filepath.Join("/usr/sbin", name),
				filepath.Join("/usr/local/sbin", name),
			} {
				if found, err := exec.LookPath(path); err == nil {
					return found, true
				}
			}
		}
		return "", false
	}
}
