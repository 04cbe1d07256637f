package srv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micro/go-platform/config/internal/conftree"
	"github.com/micro/go-platform/internal/lifecycle"
)

// Where inheritance ends, and the config of a namespace that all others in it
// inherit from.
const (
	rootNamespace = "default"
	baseConfig    = "CONFIG"
	maxChain      = 8
)

// held is a doc with its trees.
type held struct {
	*doc
	tree, candidateTree conftree.Tree
	weight              weight
}

// view is one immutable moment of all configs.
type view struct {
	revision int64
	docs     map[string]*held
	parents  map[string]string
	size     int           // bytes of all configs
	changed  chan struct{} // closed when another view took over
	made     sync.Map      // results by the docs they are made of
}

// result is a config as some instances see it. It is immutable.
type result struct {
	data     []byte
	checksum string
	tree     conftree.Tree
	author   string // of the newest write in it
	comment  string
	updated  int64
	revision int64
}

// chain returns a namespace and what it inherits from, the root first.
func (v *view) chain(namespace string) []string {
	return chain(v.parents, namespace)
}

func chain(parents map[string]string, namespace string) []string {
	var all []string
	for len(all) < maxChain && !slices.Contains(all, namespace) {
		all = append(all, namespace)
		parent, known := parents[namespace]
		if !known && namespace != rootNamespace {
			parent = rootNamespace
		}
		if parent == "" {
			break
		}
		namespace = parent
	}
	slices.Reverse(all)
	return all
}

// layers returns the ids that a config is made of, later ones win: what holds
// for all of a namespace below what holds for one config, and the parent below
// its heir in each.
func (v *view) layers(id string) []string {
	namespace, name, _ := strings.Cut(id, ":")
	namespaces := v.chain(namespace)
	var ids []string
	for _, n := range namespaces {
		ids = append(ids, n+":"+baseConfig)
	}
	if name != baseConfig {
		for _, n := range namespaces {
			ids = append(ids, n+":"+name)
		}
	}
	return ids
}

// seen returns a config as an instance sees it, or false when nothing of it is
// there.
func (v *view) seen(id, instance string, labels map[string]string) (*result, bool) {
	var parts []*held
	key := []byte(id)
	for _, layer := range v.layers(id) {
		d := v.docs[layer]
		if d == nil || !d.there {
			continue
		}
		if d.rollout != nil && chosen(d.rollout, instance, labels) {
			d = &held{doc: d.doc, tree: d.candidateTree}
			key = append(key, 0, 1)
		} else {
			key = append(key, 0, 0)
		}
		parts = append(parts, d)
	}
	if len(parts) == 0 {
		return nil, false
	}
	if r, ok := v.made.Load(string(key)); ok {
		return r.(*result), true
	}
	r := merge(parts)
	v.made.Store(string(key), r)
	return r, true
}

func merge(parts []*held) *result {
	r := &result{tree: conftree.Tree{}}
	for _, d := range parts {
		r.tree = conftree.Merge(r.tree, d.tree)
		if d.revision > r.revision {
			r.revision, r.author, r.comment, r.updated = d.revision, d.author, d.comment, d.updated
		}
	}
	r.data = conftree.Encode(r.tree)
	r.checksum = checksum(r.data)
	return r
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// state follows the store.
type state struct {
	store store
	log   *slog.Logger
	now   atomic.Pointer[view]
	mu    sync.Mutex // of those who replace the view

	trouble atomic.Pointer[error] // why the last write failed; nil if it succeeded
}

func newState(s store, log *slog.Logger) *state {
	st := &state{store: s, log: log}
	st.now.Store(&view{revision: -1, changed: make(chan struct{})})
	return st
}

// refresh looks for writes, of this process or of others.
func (s *state) refresh(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.now.Load()
	revision, err := s.store.Revision(ctx)
	if err != nil || revision == old.revision {
		return err
	}
	if revision < old.revision { // the database was restored
		old = &view{revision: -1, changed: old.changed}
	}
	docs, err := s.store.Changed(ctx, old.revision)
	if err != nil {
		return err
	}
	fresh := &view{revision: revision, docs: maps.Clone(old.docs), size: old.size, changed: make(chan struct{})}
	if fresh.parents, err = s.store.Parents(ctx); err != nil {
		return err
	}
	if fresh.docs == nil {
		fresh.docs = make(map[string]*held)
	}
	for _, d := range docs {
		if err := fresh.take(d); err != nil {
			return err
		}
	}
	s.now.Store(fresh)
	close(old.changed)
	return nil
}

func (v *view) take(d *doc) (err error) {
	h := &held{doc: d}
	if d.there {
		if h.tree, err = conftree.Decode("json", d.data); err != nil {
			return fmt.Errorf("config %s: %w", d.id, err)
		}
	}
	if d.rollout != nil {
		if h.candidateTree, err = conftree.Decode("json", d.candidate); err != nil {
			return fmt.Errorf("candidate of %s: %w", d.id, err)
		}
	}
	h.weight = weigh(d.data, h.tree, d.candidate, h.candidateTree)
	if old := v.docs[d.id]; old != nil {
		v.size -= len(old.data) + len(old.candidate)
	}
	v.size += len(d.data) + len(d.candidate)
	v.docs[d.id] = h
	v.revision = max(v.revision, d.revision) // all earlier ones are here too
	return nil
}

// pollInterval is how soon writes of other processes are seen.
const pollInterval = 250 * time.Millisecond

// follow is the loop that refreshes.
func (s *state) follow(ctx context.Context) {
	failed := false
	lifecycle.Every(ctx, pollInterval, func() {
		err := s.refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failed {
			s.log.Warn("cannot read the configs, the last known ones stay", "error", err)
		}
		failed = err != nil
	})
}
