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
	// Linger is how long the types of a member that is gone stay wanted while other
	// members go on: it covers the restart of the member. While no member is connected
	// nothing is read, and the time does not count.
	Linger = 2 * time.Minute
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

// remember keeps the types of f wanted for Linger.
func (s *subscription) remember(f plugin.Filter) {
	w := want{f, strings.Join(f.Types(), "\x00"), time.Now().Add(Linger)}
	s.wants = slices.DeleteFunc(s.wants, func(old want) bool { return old.key == w.key })
	if len(s.wants) >= maxWants {
		s.wants = s.wants[1:]
	}
	s.wants = append(s.wants, w)
}

// gone removes a member and remembers its types.
func (s *subscription) gone(m *Member) {
	delete(s.members, m.id)
	s.remember(m.filter)
}

// deserted notes when the last member was disconnected.
func (s *subscription) deserted() {
	if s.attached() == 0 {
		s.empty = time.Now()
	}
}

// entered has the wants go on from where they stood when the last member was
// disconnected. It is called before a member is connected.
func (s *subscription) entered() {
	if s.attached() > 0 {
		return
	}
	away := time.Since(s.empty)
	for i := range s.wants {
		s.wants[i].until = s.wants[i].until.Add(away)
	}
}

// unite sets the filter to the union of all members and wants: a record that any of
// them named is read, and is delivered to a member that named it. Records that were
// read for types that nobody names any more are settled.
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
	before, now := s.filter.Types(), f.Types()
	if slices.Equal(before, now) {
		return
	}
	if s.united++; s.kept == s.united-1 && len(s.filter.Misses(now)) == 0 {
		s.kept = s.united // what is on disk has more types, which loses nothing
	}
	s.filter, s.conf = f, proto.CloneOf(s.conf)
	s.conf.Types = now
	s.log.changed(s)
	if over := f.Misses(before); len(over) > 0 {
		s.log.conf.Logger.Info("no member of a subscription names some types any more, their records are passed over from here on",
			"subscription", s.name, "types", over, "read to", s.next)
		s.passOver()
	}
}

// passOver settles the records that wait and that neither a member nor a want names:
// they would keep their places, and hold up their keys, for ever.
func (s *subscription) passOver() {
	passed := 0
	for _, seq := range sortedKeys(s.items) {
		if it := s.items[seq]; it.holder == nil && it.phase != dying && !s.filter.Match(it.record.Type) {
			s.settle(it)
			passed++
		}
	}
	if passed > 0 {
		s.log.conf.Logger.Warn("records of types that no member names any more were settled unhandled",
			"subscription", s.name, "records", passed)
	}
}

// forgetWants drops the wants that are over.
func (s *subscription) forgetWants(now time.Time) {
	before := len(s.wants)
	s.wants = slices.DeleteFunc(s.wants, func(w want) bool { return !w.until.After(now) })
	if len(s.wants) < before {
		s.unite()
	}
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
