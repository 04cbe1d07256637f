package nats

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/plugin"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/lifecycle"
)

// All members of a subscription share consumers, which have one filter: the members
// must name the same types. A member that names other types waits until no member
// asks for messages any more, and takes the consumers over. A member that finds the
// consumers taken over waits in turn.

// maxDescription is below the 4 KiB that NATS takes.
const maxDescription = 2 << 10

const typesPrefix = "types "

// described is the description of the consumers of members with these types.
func described(f plugin.Filter) string {
	text := typesPrefix + fmt.Sprintf("%q", f.Types())
	if len(text) > maxDescription {
		sum := sha256.Sum256([]byte(text))
		text = typesPrefix + "of sum " + hex.EncodeToString(sum[:])
	}
	return text
}

// foreign reports whether a description is that of members with other types.
func foreign(description string, f plugin.Filter) bool {
	return strings.HasPrefix(description, typesPrefix) && description != described(f)
}

// types returns what described made a description of, or false when it does not say.
func types(description string) (all []string, ok bool) {
	rest, ok := strings.CutPrefix(description, typesPrefix+"[")
	for ok && rest != "]" {
		quoted, err := strconv.QuotedPrefix(strings.TrimPrefix(rest, " "))
		if err != nil {
			return nil, false
		}
		rest = strings.TrimPrefix(rest, " ")[len(quoted):]
		t, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, false
		}
		all = append(all, t)
	}
	return all, ok
}

const (
	// looks and lookPause are how often and at what intervals turn looks for members
	// that ask: an idle member asks nearly all the time.
	looks     = 4
	lookPause = pullWait / 3
	// lookAgain is more than a member waits between two tries to join.
	lookAgain = 30 * time.Second
)

// absences are the subscriptions whose members do not ask for messages, seen by
// members with other types.
type absences map[string]absence

type absence struct{ since, seen time.Time }

// note returns how long the members have been seen to be absent, without a longer
// pause between the looks.
func (a absences) note(name string, now time.Time) time.Duration {
	was := a[name]
	if now.Sub(was.seen) > lookAgain {
		was.since = now
	}
	a[name] = absence{was.since, now}
	return now.Sub(was.since)
}

// turn returns an ErrUnavailable while members with other types are there, or have
// left a moment ago and would miss records that the filter does not select.
func (d *driver) turn(ctx context.Context, s consumers, f plugin.Filter) error {
	var others string
	for range looks {
		info, err := s.stream.DurableInfo(ctx, s.durable(s.parts()[0]))
		if err != nil || info == nil || !foreign(info.Config.Description, f) {
			return err
		}
		others = info.Config.Description
		if info.NumWaiting > 0 {
			d.absence(s.conf.Name, true)
			return fmt.Errorf("%w: subscription %s has members with other %s: it waits until they have left; give those that stay another name",
				event.ErrUnavailable, s.conf.Name, others)
		}
		if !lifecycle.Sleep(ctx, lookPause) {
			return ctx.Err()
		}
	}
	named, ok := types(others)
	if !ok {
		named = []string{"*"}
	}
	left, err := s.left(ctx, f.Misses(named))
	if err != nil || left == 0 {
		return err
	}
	if away := d.absence(s.conf.Name, false); away < d.linger {
		return fmt.Errorf("%w: subscription %s: %s to be given to members with other %s, which left: they have %v to come back",
			event.ErrUnavailable, s.conf.Name, clean.Count(left, "record"), others, (d.linger - away).Round(time.Second))
	}
	d.absence(s.conf.Name, true)
	d.options.Logger.Warn("event: a subscription has members with other types: records of types that they do not name are passed over",
		"subscription", s.conf.Name, "had", others, "has", described(f), "records", left)
	return nil
}

// absence notes that the members of a subscription are not there, or forgets that.
func (d *driver) absence(name string, over bool) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if over {
		delete(d.absent, name)
		return 0
	}
	return d.absent.note(name, time.Now())
}

// left returns how many records of the types there are behind the first record that
// is not settled.
func (s consumers) left(ctx context.Context, types []string) (n uint64, err error) {
	if len(types) == 0 {
		return 0, nil
	}
	begin, err := s.floor(ctx)
	if err != nil {
		return 0, err
	}
	for _, t := range types {
		f, err := plugin.NewFilter(t)
		if err != nil {
			return 0, err
		}
		c, err := s.stream.Consumer(ctx, s.stream.Filter(f, "*"), begin)
		if err != nil {
			return 0, err
		}
		n += c.CachedInfo().NumPending
		s.stream.Forget(c)
	}
	return n, nil
}

// displaced returns an error when members with other types have taken the consumers
// over.
func (x *session) displaced(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, x.driver.options.Timeout)
	defer cancel()
	s := consumers{x.stream, x.conf, x.ordered}
	info, err := x.stream.DurableInfo(ctx, s.durable(s.parts()[0]))
	switch {
	case err != nil:
		return err
	case info == nil:
		return fmt.Errorf("%w: subscription %s is gone", event.ErrUnavailable, x.conf.Name)
	case foreign(info.Config.Description, x.filter):
		return fmt.Errorf("%w: subscription %s has members with other %s by now", event.ErrUnavailable, x.conf.Name, info.Config.Description)
	}
	return nil
}
