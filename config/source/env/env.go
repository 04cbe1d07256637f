// Package env is a source of the variables of the environment that share a
// prefix: with Prefix("SHOP_") the variable SHOP_DB_HOST is the value at "db",
// "host".
package env

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/internal/conftree"
	"github.com/micro/go-platform/internal/option"
)

type (
	prefixKey    struct{}
	separatorKey struct{}
)

// Prefix sets how the names of the variables begin, "SHOP_". It is required: the
// whole environment is never read, because it holds secrets of other programs.
func Prefix(prefix string) config.SourceOption { return set(prefixKey{}, prefix) }

// Separator sets the text that divides the rest of a name into a path; the default
// is "_". With "__" the variable SHOP_DB__MAX_CONNS is the value at "db",
// "max_conns".
func Separator(separator string) config.SourceOption { return set(separatorKey{}, separator) }

func set(key, value any) config.SourceOption {
	return func(o *config.SourceOptions) { o.Context = context.WithValue(o.Context, key, value) }
}

type source struct{ prefix, separator string }

// NewSource returns a source of the environment. Names are read in lower case,
// values are text. The environment is read again at each poll. A variable is left
// out and reported in Skipped if a part of its path is empty, or if another
// variable, earlier in the alphabet, has a value on its path. Kubernetes sets such
// variables for a service: SHOP_PORT beside SHOP_PORT_80_TCP.
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
	c := option.Of("config")
	c.That(s.prefix != "", "Prefix", "it is empty")
	c.That(s.separator != "", "Separator", "it is empty")
	if err := c.Err(); err != nil {
		return nil, err
	}
	values, skipped := s.parse(os.Environ())
	cs := config.NewChangeSet(s.String(), "json", conftree.Encode(values))
	cs.Skipped = skipped
	return cs, nil
}

func (s *source) parse(environ []string) (values conftree.Tree, skipped []string) {
	values = conftree.Tree{}
	owner := map[string]string{} // variable by path
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(pair, "=")
		rest, ours := strings.CutPrefix(name, s.prefix)
		if !ours || rest == "" {
			continue
		}
		path := strings.Split(strings.ToLower(rest), strings.ToLower(s.separator))
		if why := refused(values, owner, path); why != "" {
			skipped = append(skipped, name+" "+why)
			continue
		}
		owner[strings.Join(path, "\x00")] = name
		values = conftree.Set(values, path, strings.ToValidUTF8(value, "\uFFFD"))
	}
	return values, skipped
}

// refused returns why a variable is left out, or "".
func refused(values conftree.Tree, owner map[string]string, path []string) string {
	if len(path) > config.MaxDepth {
		return fmt.Sprintf("has more than %d parts", config.MaxDepth)
	}
	for i, part := range path {
		if part == "" {
			return "has an empty part"
		}
		if len(part) > conftree.MaxKey || !utf8.ValidString(part) {
			return fmt.Sprintf("has a part that is not at most %d bytes of UTF-8", conftree.MaxKey)
		}
		if other, taken := owner[strings.Join(path[:i+1], "\x00")]; taken {
			return "and " + other + " exclude each other"
		}
	}
	if _, taken := conftree.Lookup(values, path); taken {
		return "and variables whose names begin with it exclude each other"
	}
	return ""
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
	return nil, fmt.Errorf("config: watch env: %w", config.ErrStopped)
}

// Stop implements config.SourceWatcher.
func (w *watcher) Stop() error {
	w.end()
	return nil
}
