package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/micro/go-platform/internal/atomicfile"
	"github.com/micro/go-platform/internal/lifecycle"
)

// maxSnapshot bounds the snapshot file, in bytes.
const maxSnapshot = 64 << 20

// snapshotPause is how long changes are collected before the file is written.
const snapshotPause = 100 * time.Millisecond

// snapshotFile is what is in the file.
type snapshotFile struct {
	Version  int             `json:"version"`
	Checksum string          `json:"checksum"` // of Sources: finds what was torn or edited
	Sources  json.RawMessage `json:"sources"`  // []snapshotSource
}

type snapshotSource struct {
	Source    string    `json:"source"`
	Timestamp time.Time `json:"timestamp"`
	Format    string    `json:"format,omitempty"`
	Data      []byte    `json:"data"`
}

// keepSnapshot is the loop that writes the file.
func (p *platform) keepSnapshot(ctx context.Context) {
	if p.opts.SnapshotFile == "" {
		return
	}
	failed := false
	for {
		select {
		case <-ctx.Done():
			select {
			case <-p.dirty:
				p.saved(p.save(), &failed)
			default:
			}
			return
		case <-p.dirty:
		}
		lifecycle.Sleep(ctx, snapshotPause) // collect; the end is soon enough
		p.saved(p.save(), &failed)
	}
}

func (p *platform) saved(err error, failed *bool) {
	if err != nil && !*failed {
		p.opts.Logger.Warn("cannot write the config snapshot", "error", err)
	}
	*failed = err != nil
}

func (p *platform) save() error {
	p.mu.Lock()
	var all []snapshotSource
	for _, l := range p.layers {
		if l.last != nil {
			all = append(all, snapshotSource{l.source.name, l.last.Timestamp, l.last.Format, l.last.Data})
		}
	}
	p.mu.Unlock()
	sources, err := json.Marshal(all)
	if err != nil {
		return err
	}
	content, err := json.Marshal(snapshotFile{Version: 1, Checksum: checksum(sources), Sources: sources})
	if err != nil {
		return err
	}
	return atomicfile.Write(p.opts.SnapshotFile, content)
}

// restore gives sources the values of the snapshot file, once. They are replaced
// by the first thing the source says.
func (p *platform) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opts.SnapshotFile == "" || p.restored {
		return
	}
	p.restored = true
	saved, err := load(p.opts.SnapshotFile)
	if err == nil {
		err = p.use(saved)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.opts.Logger.Warn("cannot use the config snapshot", "error", err)
	}
}

func load(path string) ([]snapshotSource, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSnapshot {
		return nil, fmt.Errorf("%s: %w: no regular file of at most %d bytes", path, ErrInvalid, maxSnapshot)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxSnapshot))
	if err != nil {
		return nil, err
	}
	var file snapshotFile
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrInvalid, err)
	}
	if file.Version != 1 || file.Checksum != checksum(file.Sources) {
		return nil, fmt.Errorf("%s: %w: damaged, or of another version", path, ErrInvalid)
	}
	var saved []snapshotSource
	return saved, json.Unmarshal(file.Sources, &saved)
}

// use gives each source what the file has for its name; of several with one
// name in order. The caller holds the mutex.
func (p *platform) use(saved []snapshotSource) error {
	for _, l := range p.layers {
		for i, s := range saved {
			if s.Source != l.source.name {
				continue
			}
			cs := &ChangeSet{Timestamp: s.Timestamp, Data: s.Data, Checksum: checksum(s.Data), Source: s.Source, Format: s.Format}
			saved = append(saved[:i:i], saved[i+1:]...)
			tree, err := parse(p.opts.Reader, cs)
			if err != nil {
				return err
			}
			l.last, l.tree, l.fromSnapshot, l.updated = cs, tree, true, s.Timestamp
			break
		}
	}
	return p.merge()
}
