package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/metrics"
)

// A failure that was not seen again for believed no longer counts: a service
// that is not ready is not asked, and could never show that it works again.
// While a failure lasts it is logged every sayAgain.
const (
	believed = 10 * time.Second
	sayAgain = time.Minute
)

// work knows which of a service's tasks fail for reasons of its own: a full disk,
// a database that is away. Callers learn it from their answers; this is for the
// service's log, readiness and metrics.
type work struct {
	log     *slog.Logger
	metrics metrics.Metrics
	now     func() time.Time

	mu      sync.Mutex
	failing map[string]*failure
}

type failure struct {
	err         error
	since, last time.Time
	said        time.Time
	times       uint64
	shown       bool // by the gauge
}

func newWork(log *slog.Logger, m metrics.Metrics) *work {
	return &work{log: log, metrics: m, now: time.Now, failing: map[string]*failure{}}
}

// Worked notes how a task of the service ended that no caller waits for, and
// returns err. The names are few: each becomes a field of a metric.
func (e *Env) Worked(what string, err error) error {
	e.work.note(what, err)
	return err
}

func (w *work) note(what string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.failing[what]
	if err == nil {
		if f != nil {
			delete(w.failing, what)
			w.log.Info("works again", "what", what, "failed", f.times, "for", w.now().Sub(f.since).Round(time.Millisecond))
			w.count(what, 0)
		}
		return
	}
	if f == nil {
		f = &failure{since: w.now()}
		w.failing[what] = f
	}
	if !f.shown {
		f.shown = true
		w.count(what, 1)
	}
	f.err, f.last = reason(err), w.now()
	f.times++
	if f.last.Sub(f.said) >= sayAgain {
		f.said = f.last
		w.log.Error("cannot do its work", "what", what, "failed", f.times, "error", clean.URLError(f.err))
	}
	w.metrics.Counter("work_failed").WithFields(metrics.Fields{"what": what}).Incr(1)
}

// reason returns the detail of a go-micro error, or another error as it is.
func reason(err error) error {
	var e *merrors.Error
	if errors.As(err, &e) {
		return errors.New(e.Detail)
	}
	return err
}

// forget makes the gauge show what readiness tells: failures that were not seen again
// do not count.
func (w *work) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for what, f := range w.failing {
		if f.shown && !w.counts(f) {
			f.shown = false
			w.count(what, 0)
		}
	}
}

func (w *work) counts(f *failure) bool { return w.now().Sub(f.last) < believed }

func (w *work) count(what string, failing int64) {
	w.metrics.Gauge("work_failing").WithFields(metrics.Fields{"what": what}).Set(failing)
}

// err returns the failures that count now, for readiness.
func (w *work) err(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for what, f := range w.failing {
		if w.counts(f) {
			all = append(all, fmt.Sprintf("%s failed %s: %v", what, clean.Count(f.times, "time"), f.err))
		}
	}
	if len(all) == 0 {
		return nil
	}
	return errors.New(strings.Join(all, "; "))
}

// watchHandler notes how calls end, and keeps addresses of what is behind the service
// from its callers.
func (e *Env) watchHandler(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) error {
		err := next(ctx, req, rsp)
		if own(ctx, err) && !e.stopping() {
			e.work.note(req.Endpoint(), err)
		} else if err == nil {
			e.work.note(req.Endpoint(), nil)
		}
		return discreet(e.Name, err)
	}
}

// watchSubscriber is watchHandler for messages.
func (e *Env) watchSubscriber(next server.SubscriberFunc) server.SubscriberFunc {
	return func(ctx context.Context, msg server.Message) error {
		err := next(ctx, msg)
		if err == nil || own(ctx, err) && !e.stopping() {
			e.work.note(msg.Topic(), err)
		}
		return err
	}
}

// own reports whether an answer is the service's fault.
func own(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	var e *merrors.Error
	errors.As(rpcerr.To("", err), &e) // which is what To returns
	return e.Code >= 500 && e.Code != 501
}

func (e *Env) stopping() bool {
	select {
	case <-e.Done:
		return true
	default:
		return false
	}
}
