// Package file is a source of a file in JSON, YAML or TOML, by its extension.
// Changes are seen at once, also when an editor or Kubernetes replaces the file
// by another; those of folders and links on the way to it within a second.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/internal/option"
)

// DefaultFileName is the file that is read unless config.SourceName names one.
var DefaultFileName = "config.values"

// settle is how long a file must be left alone before it is read: it may be
// half written.
const settle = 20 * time.Millisecond

// lookInterval is how often the watcher checks whether the path leads elsewhere:
// inotify reports only what happens in the folder.
const lookInterval = 500 * time.Millisecond

type (
	rootKey   struct{}
	followKey struct{}
)

// Root sets the folder that the file and what it links to must be in. Unless
// given it is the folder of the file, which suits links that Kubernetes makes
// there. The name is then relative to it and may not lead out of it.
func Root(dir string) config.SourceOption {
	return func(o *config.SourceOptions) { o.Context = context.WithValue(o.Context, rootKey{}, dir) }
}

// FollowLinks lets the file be a symbolic link to anywhere.
func FollowLinks() config.SourceOption {
	return func(o *config.SourceOptions) { o.Context = context.WithValue(o.Context, followKey{}, true) }
}

type source struct {
	label     string
	dir, base string // the root, and the name in it
	format    string
	follow    bool
	err       error
}

// NewSource returns a source of a file of at most config.MaxSize bytes. Only
// regular files are read: pipes, devices and folders are refused, and so are
// symbolic links that lead out of Root. A file that is not there is
// config.ErrNotFound, when it was there its values stay. The format goes by the
// extension, .json, .yaml, .yml or .toml, and is JSON for others.
func NewSource(opts ...config.SourceOption) config.Source {
	o := config.NewSourceOptions(opts...)
	if o.Name == "" {
		o.Name = DefaultFileName
	}
	s := &source{label: "file:" + o.Name, format: o.Format, dir: filepath.Dir(o.Name), base: filepath.Base(o.Name)}
	s.follow, _ = o.Context.Value(followKey{}).(bool)
	if root, ok := o.Context.Value(rootKey{}).(string); ok {
		s.dir, s.base = root, filepath.Clean(o.Name)
		c := option.Of("config")
		c.That(filepath.IsLocal(o.Name), "Root", "%q leads out of %s", o.Name, root)
		s.err = c.Err()
	}
	if s.format == "" {
		s.format = formatOf(o.Name)
	}
	return s
}

func formatOf(name string) string {
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".yaml", ".yml":
		return "yaml"
	case ".toml":
		return "toml"
	}
	return "json"
}

// String implements config.Source.
func (s *source) String() string { return s.label }

// Read implements config.Source.
func (s *source) Read() (*config.ChangeSet, error) {
	if s.err != nil {
		return nil, s.err
	}
	data, at, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("config: read %s: %w: %w", s.label, config.ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("config: read %s: %w", s.label, err)
	}
	cs := config.NewChangeSet(s.label, s.format, data)
	cs.Timestamp = at
	return cs, nil
}

func (s *source) read() (_ []byte, at time.Time, err error) {
	f, err := s.open()
	if err != nil {
		return nil, at, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, at, err
	}
	if !info.Mode().IsRegular() {
		return nil, at, fmt.Errorf("%w: not a regular file but %s", config.ErrInvalid, info.Mode().Type())
	}
	data, err := io.ReadAll(io.LimitReader(f, config.MaxSize+1))
	if err == nil && len(data) > config.MaxSize {
		err = fmt.Errorf("%w: larger than %d bytes", config.ErrInvalid, config.MaxSize)
	}
	return data, info.ModTime(), err
}

// open never waits for the other end of a pipe.
func (s *source) open() (*os.File, error) {
	if s.follow {
		return os.OpenFile(filepath.Join(s.dir, s.base), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // the file stays open
	return root.OpenFile(s.base, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// Watch implements config.Source.
func (s *source) Watch() (config.SourceWatcher, error) {
	if s.err != nil {
		return nil, s.err
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("config: watch %s: %w", s.label, err)
	}
	w := &watcher{source: s, notify: notify}
	w.end = sync.OnceValue(notify.Close)
	w.look()
	return w, nil
}

type watcher struct {
	source *source
	notify *fsnotify.Watcher
	folder os.FileInfo // the watched folder, or nil
	file   os.FileInfo // as it was seen last
	last   string      // checksum
	end    func() error
}

// look reports whether the file at the path differs from before. It watches the
// folder anew when that was replaced: the kernel goes on watching the old folder.
func (w *watcher) look() bool {
	path := filepath.Join(w.source.dir, w.source.base)
	// The folder, because the watch of a file ends when the file is replaced.
	dir := filepath.Dir(path)
	if folder, err := os.Stat(dir); err != nil {
		w.folder = nil
	} else if w.folder == nil || !os.SameFile(folder, w.folder) {
		_ = w.notify.Remove(dir) // not there, mostly
		if w.notify.Add(dir) == nil {
			w.folder = folder
		}
	}
	before := w.file
	w.file, _ = os.Stat(path) // nil: it is not there
	if before == nil || w.file == nil {
		return before != w.file
	}
	return !os.SameFile(before, w.file) || before.Size() != w.file.Size() || !before.ModTime().Equal(w.file.ModTime())
}

// Next implements config.SourceWatcher.
func (w *watcher) Next() (*config.ChangeSet, error) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case _, ok := <-w.notify.Events:
			if !ok {
				return nil, fmt.Errorf("config: watch %s: %w", w.source, config.ErrStopped)
			}
		case err, ok := <-w.notify.Errors:
			if !ok {
				return nil, fmt.Errorf("config: watch %s: %w", w.source, config.ErrStopped)
			}
			return nil, fmt.Errorf("config: watch %s: %w", w.source, err)
		case <-tick.C:
			if !w.look() {
				continue
			}
		}
		w.settle()
		// Any event in the folder may mean the file: it may be reached by links.
		cs, err := w.source.Read()
		if errors.Is(err, config.ErrNotFound) {
			continue // between the two steps of a replacement; polls tell if it stays so
		}
		if err != nil {
			return nil, err
		}
		if cs.Checksum != w.last {
			w.last = cs.Checksum
			return cs, nil
		}
	}
}

// settle waits until nothing happened for a moment, a tenth of a second at most.
func (w *watcher) settle() {
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for end := time.Now().Add(5 * settle); time.Now().Before(end); {
		select {
		case _, ok := <-w.notify.Events:
			if !ok {
				return
			}
			timer.Reset(settle)
		case <-timer.C:
			return
		}
	}
}

// Stop implements config.SourceWatcher.
func (w *watcher) Stop() error {
	if err := w.end(); err != nil {
		return fmt.Errorf("config: stop watching %s: %w", w.source, err)
	}
	return nil
}
