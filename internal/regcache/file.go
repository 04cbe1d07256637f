package regcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/atomicfile"
	"github.com/micro/go-platform/internal/lifecycle"
)

const (
	savePace = time.Second
	maxFile  = 64 << 20 // bytes that are read
)

// load makes what the file holds the first record of each service.
func (c *Cache) load() {
	if c.opts.file == "" {
		return
	}
	services, err := readFile(c.opts.file)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.opts.logger.Warn("cannot read the snapshot of the registry", "error", err)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	byName := make(map[string][]*registry.Service)
	for _, s := range services {
		byName[s.Name] = append(byName[s.Name], s)
	}
	for name, versions := range byName {
		if populated(versions) {
			r := c.record(name)
			c.answer(name, r, versions, c.clock)
			for _, h := range r.nodes {
				h.at = time.Time{}
			}
		}
	}
}

func readFile(path string) ([]*registry.Service, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	return parse(text)
}

// parse refuses a file that is not whole.
func parse(text []byte) ([]*registry.Service, error) {
	var services []*registry.Service
	if err := json.Unmarshal(text, &services); err != nil {
		return nil, fmt.Errorf("parse %d bytes: %w", len(text), err)
	}
	for _, s := range services {
		if s == nil || s.Name == "" {
			return nil, errors.New("a service without a name")
		}
		for _, n := range s.Nodes {
			if n == nil || n.Id == "" {
				return nil, fmt.Errorf("service %q: a node without an id", s.Name)
			}
		}
	}
	return services, nil
}

// save is the loop that writes the file.
func (c *Cache) save(ctx context.Context) {
	if c.opts.file == "" {
		return
	}
	failed := false
	for more := true; more; {
		more = lifecycle.Sleep(ctx, savePace)
		if !c.unsaved.Swap(false) {
			continue
		}
		err := c.write()
		if err != nil {
			c.unsaved.Store(true)
			if !failed {
				c.opts.logger.Warn("cannot write the snapshot of the registry, will retry", "error", err)
			}
		}
		failed = err != nil
	}
}

// write replaces the file.
func (c *Cache) write() error {
	var services []*registry.Service
	for _, r := range *c.names.Load() {
		if s := r.snapshot.Load(); s != nil {
			services = append(services, s.Services...)
		}
	}
	text, err := json.Marshal(services)
	if err != nil {
		return err
	}
	return atomicfile.Write(c.opts.file, text)
}
