package srv

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
)

// ruleset is the rules after a change. It never changes.
type ruleset struct {
	set       *policy.Set
	revision  uint64 // of the change
	mark      string
	history   []ruleChange // by rising revision
	forgotten uint64       // the last change that is not in history
	all       func() []*pb.Rule
}

func newRuleset(set *policy.Set) *ruleset {
	return &ruleset{set: set, all: sync.OnceValue(set.All)}
}

// next returns the rules after more changes.
func (s *ruleset) next(c *ruleChanges) (*ruleset, error) {
	base, history := s.set, s.history
	forgotten := s.forgotten
	if c.whole {
		base, history, forgotten = &policy.Set{}, nil, c.forgotten
	}
	changed := make([]string, len(c.history))
	for i, h := range c.history {
		changed[i] = h.id
	}
	set, err := base.With(c.rules, changed)
	if err != nil {
		return nil, err
	}
	history = append(history, c.history...) // older sets share the beginning
	if surplus := len(history) - maxChanges; surplus > maxChanges {
		forgotten = history[surplus-1].revision
		history = slices.Clone(history[surplus:])
	}
	made := newRuleset(set)
	made.revision, made.mark, made.history, made.forgotten = c.revision, c.mark, history, forgotten
	return made, nil
}

// view is the part of the rules that a watcher is sent.
type view struct {
	services []string // nil: all
	key      string
}

func newView(services []string) view {
	return view{services: services, key: strings.Join(services, "\n")}
}

// wants is what a watcher is to be sent, and how. Watchers that want the same
// are sent the same bytes.
type wants struct {
	view        view
	differences bool
}

// of returns the rules of a view.
func (s *ruleset) of(v view) *pb.Rules {
	made := &pb.Rules{Services: v.services, Closed: !s.set.IsOpen()}
	if v.services == nil {
		made.Rules = s.all()
		return made
	}
	seen := map[string]bool{}
	add := func(rules []*pb.Rule) {
		for _, r := range rules {
			if !seen[r.Id] {
				seen[r.Id] = true
				made.Rules = append(made.Rules, r)
			}
		}
	}
	for _, service := range v.services {
		add(s.set.About(service))
	}
	if v.hasNames() {
		add(s.set.Names())
	}
	slices.SortFunc(made.Rules, policy.Compare)
	return made
}

// hasNames reports whether the view has all rules about names: some services are
// told of others by name.
func (v view) hasNames() bool {
	return v.services == nil || slices.ContainsFunc(v.services, asksForNames)
}

func asksForNames(service string) bool {
	switch service {
	case policy.PlatformPrefix + "discovery", policy.PlatformPrefix + "monitor", policy.PlatformPrefix + "router", policy.PlatformPrefix + "trace":
		return true
	}
	return false
}

// has reports whether a rule belongs to the view.
func (v view) has(r *pb.Rule) bool {
	switch {
	case r == nil:
		return false
	case v.services == nil, policy.IsNames(r) && v.hasNames():
		return true
	}
	return slices.ContainsFunc(v.services, func(s string) bool { return policy.About(r, s) })
}

// since returns what a watcher of a view must be told that knows the rules of a
// revision. It does not know when too many have changed since.
func (s *ruleset) since(revision uint64, v view) (*pb.RuleChanges, bool) {
	later := s.history[sort.Search(len(s.history), func(i int) bool { return s.history[i].revision > revision }):]
	if revision < s.forgotten || len(later) > max(s.set.Len(), minChanges) {
		return nil, false
	}
	had, order := map[string]bool{}, []string{}
	for i := range later {
		c := &later[i]
		if _, again := had[c.id]; !again {
			order = append(order, c.id)
		}
		had[c.id] = had[c.id] || v.has(c.was)
	}
	changes := &pb.RuleChanges{Closed: !s.set.IsOpen()}
	for _, id := range order {
		if r := s.set.Get(id); v.has(r) {
			changes.Put = append(changes.Put, r)
		} else if had[id] {
			changes.Remove = append(changes.Remove, id)
		}
	}
	return changes, true
}

// minChanges are told one by one however few rules there are.
const minChanges = 64

// position is what a watcher of a view shows to be told what changed since.
func (s *ruleset) position(v view) string {
	sum := sha256.Sum256([]byte(v.key))
	return strconv.FormatUint(s.revision, 10) + "." + s.mark + "." + base64.RawURLEncoding.EncodeToString(sum[:9])
}

// resume returns the revision of a position of the view, if it is one that these
// rules came from: a database that was restored has others of the same number.
func (s *ruleset) resume(position string, v view) (uint64, bool) {
	number, _, _ := strings.Cut(position, ".")
	revision, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0, false
	}
	was := &ruleset{revision: revision, mark: s.mark}
	if revision == s.revision && position == was.position(v) {
		return revision, true
	}
	for i := sort.Search(len(s.history), func(i int) bool { return s.history[i].revision >= revision }); i < len(s.history) && s.history[i].revision == revision; i++ {
		if was.mark = s.history[i].mark; position == was.position(v) {
			return revision, true
		}
	}
	return 0, false
}

// rulesFor returns what to tell of the rules to who knows those of was: all of
// them, changes, or nothing.
func (s *ruleset) rulesFor(was *ruleset, w wants) (*pb.Rules, *pb.RuleChanges) {
	if s == was {
		return nil, nil
	}
	changes, known := s.since(was.revision, w.view)
	switch {
	case known && len(changes.Put)+len(changes.Remove) == 0 && s.set.IsOpen() == was.set.IsOpen():
		return nil, nil
	case known && w.differences:
		return nil, changes
	}
	return s.of(w.view), nil
}

// pack is a message for all watchers that want the same and know the same,
// encoded once.
type pack struct {
	message *pb.WatchResponse
	data    func() ([]byte, error)
}

func newPack(m *pb.WatchResponse) *pack {
	return &pack{m, sync.OnceValues(func() ([]byte, error) { return proto.Marshal(m) })}
}

// isEmpty reports whether the message tells nothing.
func (p *pack) isEmpty() bool {
	m := p.message
	return !m.Reset_ && m.Rules == nil && m.Changes == nil && len(m.Jwks)+len(m.Revocations) == 0
}

// packs are those of one snapshot.
type packs struct {
	mu    sync.Mutex
	known map[packKey]*pack
	size  int
}

type packKey struct {
	was         uint64
	first       bool
	view        string
	differences bool
}

// maxPacked bounds what the packs of a snapshot take, in bytes. Others are made
// each time.
const maxPacked = 32 << 20

func (p *packs) of(key packKey, made func() *pb.WatchResponse) *pack {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kept := p.known[key]; kept != nil {
		return kept
	}
	one := newPack(made())
	if size := proto.Size(one.message) + len(key.view) + 256; p.size+size <= maxPacked {
		if p.known == nil {
			p.known = map[packKey]*pack{}
		}
		p.known[key], p.size = one, p.size+size
	}
	return one
}
