package daemon

import (
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// outliveReaders makes writes to a standard output or error that nobody reads
// any more fail, where Go would end the process. Programs that the process starts do
// not inherit that, as they would a signal that is ignored.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// sink counts what could not be written, and goes on.
type sink struct {
	to   io.Writer
	lost atomic.Int64
}

func (s *sink) Write(p []byte) (int, error) {
	if _, err := s.to.Write(p); err != nil {
		s.lost.Add(1) // there is nobody to tell but the metrics
	}
	return len(p), nil
}

// serveMetrics updates the metrics of what is counted elsewhere before it
// serves them.
func (e *Env) serveMetrics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.lost != nil {
			e.metrics.Gauge("log_lost").Set(e.lost.lost.Load())
		}
		e.work.forget()
		next.ServeHTTP(w, r)
	})
}
