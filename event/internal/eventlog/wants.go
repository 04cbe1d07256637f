package eventlog

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event/internal/wire"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

const (
	// linger is how long the types of a member that is gone stay wanted. It covers
	// the restart of the member while members of another version go on.
	linger = 2 * time.Minute
	// maxWants bounds the wants of a subscription; the oldest is forgotten first.
	maxWants = 64
)

// want is the types that a member named that is gone.
type want struct {
	filter plugin.Filter
	key    string // the types as one text
	until  time.Time
}

// filterOf is plugin.NewFilter for any number of types: a saved state has those of
// several members.
func filterOf(types []string) (plugin.Filter, error) {
	f, err := plugin.NewFilter(types[:min(len(types), wire.MaxTypes)]...)
	for rest := types[min(len(types), wire.MaxTypes):]; err == nil && len(rest) > 0; {
		n := min(len(rest), wire.MaxTypes)
		var g plugin.Filter
		g, err = plugin.NewFilter(rest[:n]...)
		f, rest = f.Union(g), rest[n:]
	}
	return f, err
}

// remember keeps the types of f wanted for linger.
func (s *subscription) remember(f plugin.Filter) {
	w := want{f, strings.Join(f.Types(), "\x00"), time.Now().Add(linger)}
	s.wants = slices.DeleteFunc(s.wants, func(old want) bool { return old.key == w.key })
	if len(s.wants) >= maxWants {
		s.wants = s.wants[1:]
	}
	s.wants = append(s.wants, w)
}

// left forgets all wants when the last member has left on purpose: the members that
// come next decide anew.
func (s *subscription) left() {
	if len(s.members) == 0 {
		s.wants = nil
	}
}

// gone removes a member and remembers its types.
func (s *subscription) gone(m *Member) {
	delete(s.members, m.id)
	s.remember(m.filter)
}

// unite sets the filter to the union of all members and wants: a record that any of
// them named is read, and is delivered to a member that named it.
func (s *subscription) unite() {
	var all []plugin.Filter
	for _, m := range s.members {
		all = append(all, m.filter)
	}
	for _, w := range s.wants {
		all = append(all, w.filter)
	}
	if len(all) == 0 {
		return
	}
	f := all[0]
	for _, g := range all[1:] {
		f = f.Union(g)
	}
	if slices.Equal(f.Types(), s.filter.Types()) {
		return
	}
	s.filter, s.conf = f, proto.CloneOf(s.conf)
	s.conf.Types = f.Types()
	s.united++
}

// forgetWants drops the wants that are over, and settles the records that were read
// for them.
func (s *subscription) forgetWants(now time.Time) {
	before := len(s.wants)
	s.wants = slices.DeleteFunc(s.wants, func(w want) bool { return !w.until.After(now) })
	if len(s.wants) == before {
		return
	}
	s.unite()
	passed := 0
	for _, seq := range sortedKeys(s.items) {
		if it := s.items[seq]; it != nil && it.holder == nil && it.phase != dying && !s.filter.Match(it.record.Type) {
			s.settle(it)
			passed++
		}
	}
	if passed > 0 {
		s.log.conf.Logger.Info("records of types that no member names any more are passed over", "subscription", s.name, "records", passed)
	}
	s.log.changed(s)
}

// adopt takes over the settings of the newest member, but for the types, which are
// those of all members.
func (s *subscription) adopt(conf *pb.Subscription) {
	types := s.conf.Types
	reorder := s.conf.Ordered != conf.Ordered
	s.conf = proto.CloneOf(conf)
	s.conf.Types = types
	if reorder {
		s.reorder()
	}
}
