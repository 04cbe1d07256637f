package nats

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/plugin"
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

const (
	// looks and lookPause are how often and at what intervals turn looks for members
	// that ask: an idle member asks nearly all the time.
	looks     = 4
	lookPause = pullWait / 3
)

// turn returns an ErrUnavailable while members with other types are there.
func (s consumers) turn(ctx context.Context, f plugin.Filter) error {
	for range looks {
		info, err := s.stream.DurableInfo(ctx, s.durable(s.parts()[0]))
		if err != nil || info == nil || !foreign(info.Config.Description, f) {
			return err
		}
		if info.NumWaiting > 0 {
			return fmt.Errorf("%w: subscription %s has members with other %s: it waits until they have left; give those that stay another name",
				event.ErrUnavailable, s.conf.Name, info.Config.Description)
		}
		if !lifecycle.Sleep(ctx, lookPause) {
			return ctx.Err()
		}
	}
	return nil
}

// knows is how long a look at the types of the consumers is trusted.
const knows = time.Second

// displaced returns an error when members with other types have taken the consumers
// over.
func (x *session) displaced(ctx context.Context) error {
	x.mu.Lock()
	fresh := time.Since(x.known) < knows
	x.mu.Unlock()
	if fresh {
		return nil
	}
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
	x.mu.Lock()
	x.known = time.Now()
	x.mu.Unlock()
	return nil
}
