package queue

import (
	"log/slog"
	"sync"
	"time"
)

// calm is how long nothing of a sort fails before the next failure is news.
const calm = time.Minute

// trouble logs failures that are waited out, of which nobody else would tell:
// one line when a burst begins. The zero value is ready.
type trouble struct {
	mu   sync.Mutex
	last time.Time
}

func (t *trouble) tell(log *slog.Logger, what string, args ...any) {
	t.mu.Lock()
	news := t.last.IsZero() || time.Since(t.last) > calm
	t.last = time.Now()
	t.mu.Unlock()
	if news {
		log.Warn(what, args...)
	}
}
