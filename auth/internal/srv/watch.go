package srv

import (
	"context"
	"slices"
	"strings"
	"time"

	"go-micro.dev/v6/codec/bytes"
	"google.golang.org/grpc/metadata"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpcerr"
)

const (
	maxWatchers = 2_000 // of one account
	lifeSign    = 4 * time.Second
)

// Changed rules are told to a watcher at once, and then no sooner than pace
// allows: while rules are loaded one by one, thousands of watchers are told of
// many at a time. Keys and revocations never wait.
const (
	leastPace   = 20 * time.Millisecond
	sendsSecond = 20_000 // to all watchers
)

func pace(watchers *daemon.Streams) time.Duration {
	return max(leastPace, time.Duration(watchers.Len())*time.Second/sendsSecond)
}

// Watch implements pb.PolicyHandler. A watcher that is slow is told less often
// and never wrongly: it gets the difference between what it knows and what is.
func (h *policyHandler) Watch(ctx context.Context, req *pb.WatchRequest, stream pb.Policy_WatchStream) error {
	known := h.feed.now.Load() // what changes from here on has the watcher judged again
	v, err := h.viewOf(ctx, req.Services)
	if err != nil {
		return refuse(err)
	}
	leave, err := h.watchers.Enter(ctx)
	if err != nil {
		return refuse(err)
	}
	defer leave()
	w := &watcher{feed: h.feed, all: h.watchers, known: known, wants: wants{v, req.Differences}, send: sender(ctx, stream)}
	w.may = func() error {
		_, err := h.viewOf(ctx, req.Services)
		return refuse(err)
	}
	return w.run(ctx, h.done, req.Known)
}

// watcher is one stream.
type watcher struct {
	feed *feed
	all  *daemon.Streams
	wants
	send  func(*pack) error
	may   func() error // asked when rules have changed: what granted a name may be gone
	known *snapshot    // what it was told
	due   time.Time    // when it may be told of rules again
}

func (w *watcher) run(ctx context.Context, done <-chan struct{}, position string) error {
	if err := w.send(w.known.first(w.wants, position, w.feed.issuer)); err != nil {
		return err
	}
	alive, due := time.NewTicker(lifeSign), time.NewTimer(time.Hour)
	defer alive.Stop()
	defer due.Stop()
	for seen := w.known; ; {
		sign := false
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			return nil
		case <-alive.C:
			sign = true
		case <-seen.changed:
		case <-due.C:
		}
		seen = w.feed.now.Load()
		if wait := time.Until(w.due); wait > 0 && !seen.isUrgent(w.known) && !sign {
			due.Reset(wait)
			continue
		}
		if err := w.tell(seen, sign); err != nil {
			return err
		}
	}
}

// tell brings the watcher from what it knows to what is.
func (w *watcher) tell(is *snapshot, sign bool) error {
	p := is.pack(w.known, w.wants)
	if is.rules != w.known.rules {
		if err := w.may(); err != nil {
			return err
		}
		w.due = time.Now().Add(pace(w.all))
	}
	w.known = is
	if p.isEmpty() && !sign {
		return nil
	}
	return w.send(p)
}

// sender returns what sends packs. All watchers are sent the same bytes, but for
// those that want JSON.
func sender(ctx context.Context, stream pb.Policy_WatchStream) func(*pack) error {
	md, _ := metadata.FromIncomingContext(ctx)
	json := slices.ContainsFunc(md.Get("content-type"), func(t string) bool { return strings.HasSuffix(t, "json") })
	return func(p *pack) error {
		if json {
			return stream.Send(p.message)
		}
		data, err := p.data()
		if err != nil {
			return err
		}
		return stream.SendMsg(&bytes.Frame{Data: data})
	}
}

// maxViewed bounds the services whose rules one watcher is sent.
const maxViewed = 16

// viewOf returns the part of the rules that a caller is sent: those of the
// services that it asks for, whose names it must hold.
func (h *policyHandler) viewOf(ctx context.Context, services []string) (view, error) {
	c, known := callerClaims(ctx)
	everything := h.insecure || known && c.has(ScopeAdmin)
	switch {
	case len(services) > maxViewed:
		return view{}, rpcerr.Invalid("services", "%d, more than %d", len(services), maxViewed)
	case everything: // it may read all of them anyway
		return newView(nil), nil
	case !known:
		return view{}, errToken
	case len(services) == 0:
		return newView([]string{c.Subject}), nil
	}
	services = slices.Sorted(slices.Values(services))
	rules := h.feed.now.Load().rules.set
	for _, s := range services {
		if err := mayHold(rules, c, s); err != nil {
			return view{}, err
		}
	}
	return newView(services), nil
}
