package auth

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// decided are the services whose calls wrappers decide: that of the Auth, and those
// of the option As.
type decided struct {
	mu    sync.Mutex
	names []string
	more  chan struct{} // closed when there are more
}

func newDecided(own string) *decided {
	return &decided{names: []string{own}, more: make(chan struct{})}
}

// maxDecided is how many services auth-srv tells one watcher the rules of.
const maxDecided = 16

// add reports whether there was room for one more.
func (d *decided) add(service string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.Contains(d.names, service) {
		return true
	}
	if len(d.names) >= maxDecided {
		return false
	}
	d.names = append(slices.Clone(d.names), service)
	close(d.more)
	d.more = make(chan struct{})
	return true
}

func (d *decided) all() (names []string, more <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names, d.more
}

// DecideFor has the rules about another service followed, too. The account must
// hold its name. Of more than 16 the calls cannot be decided, which is logged.
func (p *platform) DecideFor(service string) {
	if !p.decided.add(service) {
		p.opts.Logger.Error("cannot decide the calls of so many services", "service", service, "most", maxDecided)
	}
}

// errMore ends a stream that follows the rules of too few services.
var errMore = errors.New("another service is decided for")

// Ready returns why no token can be verified, or no call be decided, for readiness
// checks.
func (p *platform) Ready() error {
	err := p.verifier.Ready()
	why := p.trouble.Load()
	switch {
	case why == nil:
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", err, *why)
	case errors.Is(*why, ErrForbidden): // it will not get any rules
		return *why
	}
	return nil
}
