package log

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
)

// stampLayout is the time in the name of a rotated file: sortable and, with its
// nanoseconds, one of its own for each.
const stampLayout = "20060102T150405.000000000"

// archive keeps the rotated files of one log: log.json becomes
// log-<time>.json, then log-<time>.json.gz, then nothing. One goroutine does it,
// away from the path of the events; what a crash leaves behind, the next start
// goes on with.
type archive struct {
	name  string
	opts  OutputOptions
	group lifecycle.Group
	wake  chan struct{}
	last  time.Time
}

// start begins to tidy, with what is there already. It comes before take.
func (a *archive) start() {
	if a.wake != nil {
		return
	}
	a.wake = make(chan struct{}, 1)
	a.wake <- struct{}{}
	_ = a.group.Start(a.run) // refused only after stop, when there is nothing to tidy
}

// stop ends a compression in flight; its file stays as it was.
func (a *archive) stop() error { return a.group.Stop(time.Second) }

// take moves the log to a name of its own.
func (a *archive) take() error {
	at := time.Now().UTC()
	if !at.After(a.last) {
		at = a.last.Add(1)
	}
	for ; exists(a.path(at)) || exists(a.path(at)+".gz"); at = at.Add(1) {
		continue // another process, or a clock that was set back
	}
	a.last = at
	if err := os.Rename(a.name, a.path(at)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("log: rotate: %w", err)
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (a *archive) path(at time.Time) string {
	ext := filepath.Ext(a.name)
	return strings.TrimSuffix(a.name, ext) + "-" + at.Format(stampLayout) + ext
}

func (a *archive) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
			if err := a.tidy(ctx); err != nil && ctx.Err() == nil {
				a.opts.Logger.Warn("cannot tidy rotated logs", "error", err)
			}
		}
	}
}

// tidy removes what is too old and compresses the rest.
func (a *archive) tidy(ctx context.Context) error {
	paths, err := a.list()
	if err != nil {
		return err
	}
	var errs []error
	if keep := a.opts.Backups; keep > 0 && len(paths) > keep {
		for _, path := range paths[:len(paths)-keep] {
			errs = append(errs, remove(path), remove(path+".gz"), remove(path+".gz.tmp"))
		}
		paths = paths[len(paths)-keep:]
	}
	for _, path := range paths {
		if a.opts.Compress && exists(path) && ctx.Err() == nil {
			errs = append(errs, compress(ctx, path))
		}
	}
	return errors.Join(errs...)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("log: remove a rotated file: %w", err)
	}
	return nil
}

// list returns the rotated files, oldest first, by the names they had before
// they were compressed. A file whose name carries no time is not ours.
func (a *archive) list() ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(a.name))
	if err != nil {
		return nil, fmt.Errorf("log: list rotated files: %w", err)
	}
	ext := filepath.Ext(a.name)
	prefix := strings.TrimSuffix(filepath.Base(a.name), ext) + "-"
	var paths []string
	for _, entry := range entries {
		plain := strings.TrimSuffix(entry.Name(), ".gz")
		stamp, ok := strings.CutPrefix(strings.TrimSuffix(plain, ext), prefix)
		if _, err := time.Parse(stampLayout, stamp); !ok || err != nil || plain != prefix+stamp+ext {
			continue
		}
		paths = append(paths, filepath.Join(filepath.Dir(a.name), plain))
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// compress replaces a file by its gzip of the same mode. The gzip gets its name only
// when it is whole, and the file is removed last: after a crash between the two both
// are there and the next compress does it again. It locks the file, to wait for a
// writer that opened it before it was moved, and for other processes that compress
// it.
func compress(ctx context.Context, path string) error {
	in, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // another process did it
	}
	if err != nil {
		return fmt.Errorf("log: compress a rotated file: %w", err)
	}
	defer func() { _ = in.Close() }() // only read
	if err := lock(in); err != nil {
		return fmt.Errorf("log: lock a rotated file: %w", err)
	}
	if !exists(path) {
		return nil
	}
	partial := path + ".gz.tmp"
	if err = pack(ctx, in, partial); err == nil {
		err = os.Rename(partial, path+".gz")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("log: compress a rotated file: %w", err), remove(partial))
	}
	return remove(path)
}

func pack(ctx context.Context, in *os.File, to string) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(out)
	_, err = io.Copy(zip, &ended{ctx, in})
	return errors.Join(err, out.Chmod(info.Mode().Perm()), zip.Close(), out.Sync(), out.Close())
}

// ended is a reader that fails when its context has ended.
type ended struct {
	ctx context.Context
	io.Reader
}

func (r *ended) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
