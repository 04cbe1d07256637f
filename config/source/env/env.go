// Package env is a source of the variables of the environment that share a
// prefix: with Prefix("SHOP_") the variable SHOP_DB_HOST is the value at "db",
// "host".
package env

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/internal/conftree"
)

type (
	prefixKey    struct{}
	separatorKey struct{}
)

// Prefix is how the names of the variables begin, "SHOP_". It is needed: the
// whole environment is never read, because it holds what is nobody's business.
func Prefix(prefix string) config.SourceOption { return set(prefixKey{}, prefix) }

// Separator divides the rest of a name into a path, "_" unless given. With "__"
// the variable SHOP_DB__MAX_CONNS is the value at "db", "max_conns".
func Separator(separator string) config.SourceOption { return set(separatorKey{}, separator) }

func set(key, value any) config.SourceOption {
	return func(o *config.SourceOptions) { o.Context = context.WithValue(o.Context, key, value) }
}

type source struct{ prefix, separator string }

// NewSource returns a source of the environment. Names are read in lower case,
// values are text. The environment is read again at each poll. A variable whose
// path is part of another's is an error that names both.
func NewSource(opts ...config.SourceOption) config.Source {
	o := config.NewSourceOptions(opts...)
	s := &source{separator: "_"}
	if v, ok := o.Context.Value(prefixKey{}).(string); ok {
		s.prefix = v
	}
	if v, ok := o.Context.Value(separatorKey{}).(string); ok {
		s.separator = v
	}
	return s
}

// String implements config.Source.
func (s *source) String() string { return "env:" + s.prefix }

// Read implements config.Source.
func (s *source) Read() (*config.ChangeSet, error) {
	if s.prefix == "" {
		return nil, fmt.Errorf("read env: option Prefix: %w: empty", config.ErrInvalid)
	}
	if s.separator == "" {
		return nil, fmt.Errorf("read env: option Separator: %w: empty", config.ErrInvalid)
	}
	values, err := s.parse(os.Environ())
	if err != nil {
		return nil, fmt.Errorf("read env: %w", err)
	}
	data, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("read env: %w", err)
	}
	return config.NewChangeSet(s.String(), "json", data), nil
}

func (s *source) parse(environ []string) (conftree.Tree, error) {
	values := conftree.Tree{}
	owner := map[string]string{} // variable by path
	environ = slices.Clone(environ)
	slices.Sort(environ)
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		rest, ours := strings.CutPrefix(name, s.prefix)
		if !ours || rest == "" {
			continue
		}
		path := strings.Split(strings.ToLower(rest), strings.ToLower(s.separator))
		if slices.Contains(path, "") {
			return nil, fmt.Errorf("%w: %s has an empty part", config.ErrInvalid, name)
		}
		if len(path) > config.MaxDepth {
			return nil, fmt.Errorf("%w: %s has more than %d parts", config.ErrInvalid, name, config.MaxDepth)
		}
		for i := range path {
			if other, taken := owner[strings.Join(path[:i+1], "\x00")]; taken {
				return nil, fmt.Errorf("%w: %s and %s exclude each other", config.ErrInvalid, other, name)
			}
		}
		if _, taken := conftree.Lookup(values, path); taken {
			return nil, fmt.Errorf("%w: %s excludes variables whose names begin with it", config.ErrInvalid, name)
		}
		owner[strings.Join(path, "\x00")] = name
		values = conftree.Set(values, path, value)
	}
	return values, nil
}

// Watch implements config.Source. The environment of a process tells of no
// changes.
func (s *source) Watch() (config.SourceWatcher, error) {
	w := &watcher{stopped: make(chan struct{})}
	w.end = sync.OnceFunc(func() { close(w.stopped) })
	return w, nil
}

type watcher struct {
	stopped chan struct{}
	end     func()
}

// Next implements config.SourceWatcher.
func (w *watcher) Next() (*config.ChangeSet, error) {
	<-w.stopped
	return nil, fmt.Errorf("watch env: %w", config.ErrStopped)
}

// Stop implements config.SourceWatcher.
func (w *watcher) Stop() error {
	w.end()
	return nil
}
