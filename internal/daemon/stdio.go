package daemon

import (
	"io"
	"net/http"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// outliveReaders makes writes to a standard output or error that nobody reads
// any more fail, where Go would end the process.
func outliveReaders() { signal.Ignore(syscall.SIGPIPE) }

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
		next.ServeHTTP(w, r)
	})
}
