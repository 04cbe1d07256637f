package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	pb "github.com/micro/go-platform/event/proto"
)

// A saved state is a version, the length and bytes of the configuration, the
// cursor, and for each unsettled record the distance from the one before and
// its tries, all as variable-length integers.
const stateVersion = 1

// state returns what is to be saved. A delivery underway does not count as a
// try, as those that were spared do not: it is not the record's fault when this
// process dies.
func (s *subscription) state() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	conf, err := proto.Marshal(s.conf)
	if err != nil {
		// It was made by proto.Unmarshal, or of validated strings.
		panic(fmt.Sprintf("eventlog: marshal a subscription: %v", err))
	}
	data := binary.AppendUvarint(nil, stateVersion)
	data = binary.AppendUvarint(data, uint64(len(conf)))
	data = append(data, conf...)
	data = binary.AppendUvarint(data, s.next)
	open := slices.Concat(s.reread, slices.Collect(maps.Keys(s.items)))
	slices.Sort(open)
	data = binary.AppendUvarint(data, uint64(len(open)))
	before := uint64(0)
	for _, seq := range open {
		try := s.tries[seq]
		if it := s.items[seq]; it != nil {
			try = it.try - it.spared
			if it.phase == leased {
				try--
			}
		}
		data = binary.AppendUvarint(data, seq-before)
		data = binary.AppendUvarint(data, uint64(try))
		before = seq
	}
	return State{Name: s.name, Data: data}
}

var errState = errors.New("its saved state is damaged")

// restore is the inverse of state.
func restore(l *Log, st State) (*subscription, error) {
	r := reader{data: st.Data}
	if r.number() != stateVersion {
		return nil, errState
	}
	conf := &pb.Subscription{}
	if err := proto.Unmarshal(r.bytes(r.number()), conf); err != nil || r.bad {
		return nil, errState
	}
	s, err := newSubscription(l, conf, r.number())
	if err != nil {
		return nil, err
	}
	s.kept = s.united
	s.remember(s.filter) // its members are about to come back
	seq := uint64(0)
	for n := r.number(); n > 0 && !r.bad; n-- {
		seq += r.number()
		s.reread = append(s.reread, seq)
		if try := r.number(); try > 0 {
			s.tries[seq] = int32(min(try, event.MaxMaxTries))
		}
	}
	if r.bad || conf.Name != st.Name {
		return nil, errState
	}
	return s, nil
}

// Anew returns the state of a subscription that begins at the beginning of another
// log.
func Anew(st State) (State, error) {
	r := reader{data: st.Data}
	version := r.number()
	conf := r.bytes(r.number())
	if r.bad || version != stateVersion {
		return State{}, fmt.Errorf("subscription %q: %w", st.Name, errState)
	}
	data := binary.AppendUvarint(nil, version)
	data = binary.AppendUvarint(data, uint64(len(conf)))
	data = append(data, conf...)
	return State{st.Name, append(data, 0, 0)}, nil // the cursor, and no record is unsettled
}

type reader struct {
	data []byte
	bad  bool
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.data)
	if size <= 0 {
		r.bad, r.data = true, nil
		return 0
	}
	r.data = r.data[size:]
	return n
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.data)) {
		r.bad = true
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}
