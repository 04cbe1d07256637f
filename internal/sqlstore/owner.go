package sqlstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/micro/go-platform/internal/atomicfile"
)

// ErrInUse is what the error of Open is when a database file is another
// instance's. Its text names that one.
var ErrInUse = errors.New("in use")

// own locks the database file of a service, so that a second instance is refused
// instead of answering from memory of its own what it does not know to be old. The
// lock ends with the process, however that ends. Other services may use the file,
// too.
func own(rawURL, service string) (*os.File, error) {
	scheme, rest, _ := strings.Cut(rawURL, ":")
	path := strings.TrimPrefix(rest, "//")
	if scheme != "sqlite" || path == ":memory:" || service == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path+"."+service+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open sqlite database: %w", err)
	}
	if err := atomicfile.TryLock(f); err != nil {
		who, _ := io.ReadAll(io.LimitReader(f, 256)) // the owner may be about to write it
		_ = f.Close()                                // nothing was written
		return nil, fmt.Errorf("open sqlite database: %s is %w by %s: a file belongs to one instance at a time; "+
			"several share a database on a server", path, ErrInUse, strings.TrimSpace(string(who)))
	}
	if err := sign(f, service); err != nil {
		return nil, errors.Join(fmt.Errorf("open sqlite database: %w", err), f.Close())
	}
	return f, nil
}

func sign(f *os.File, service string) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s-srv, process %d on %s since %s\n", service, os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	return err
}
