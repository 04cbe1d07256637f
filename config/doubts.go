package config

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// maxDoubts bounds the paths of which doubts are remembered.
const maxDoubts = 1000

// doubts are the values that did not convert in a getter. Each is logged once.
type doubts struct {
	log  *slog.Logger
	mu   sync.Mutex
	told map[string][]string
}

func newDoubts(log *slog.Logger) *doubts { return &doubts{log: log} }

// tell notes that the value at a path does not convert. It does not show the value,
// which may be a secret.
func (d *doubts) tell(path, want string, value any) {
	if d == nil {
		return
	}
	text := "want " + want + ", got " + kind(value)
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.Contains(d.told[path], text) || d.told[path] == nil && len(d.told) >= maxDoubts {
		return
	}
	if d.told == nil {
		d.told = make(map[string][]string)
	}
	d.told[path] = append(d.told[path], text)
	d.log.Warn("a value does not convert, the default stands in", "path", path, "problem", text)
}

// at returns the doubts of a path.
func (d *doubts) at(path []string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.told[strings.Join(path, ".")])
}
