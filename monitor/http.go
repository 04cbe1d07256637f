package monitor

import (
	"encoding/json"
	"net/http"
	"time"
)

// HealthzHandler answers liveness probes: 200, or 503 while a critical live
// check is in error and the process should be restarted. The body is JSON and
// lists the checks with their results.
func HealthzHandler(m Monitor) http.Handler {
	return probe(m, func(h Health) bool { return h.Live })
}

// ReadyzHandler answers readiness probes: 200, or 503 while the service starts,
// drains or has stopped, or a critical ready check is in error.
func ReadyzHandler(m Monitor) http.Handler {
	return probe(m, Health.Ready)
}

type probeBody struct {
	OK       bool         `json:"ok"`
	Status   string       `json:"status"`
	Service  string       `json:"service,omitempty"`
	Node     string       `json:"node,omitempty"`
	NotReady []string     `json:"not_ready,omitempty"`
	Checks   []probeCheck `json:"checks"`
}

type probeCheck struct {
	ID          string            `json:"id"`
	Description string            `json:"description,omitempty"`
	Kind        string            `json:"kind"`
	Critical    bool              `json:"critical"`
	Status      string            `json:"status"`
	Results     map[string]string `json:"results,omitempty"`
	Error       string            `json:"error,omitempty"`
	Time        *time.Time        `json:"time,omitempty"`
}

func probe(m Monitor, good func(Health) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		h := m.Health()
		body := newProbeBody(h, good(h))
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !body.OK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(body) // the prober is gone
	})
}

func newProbeBody(h Health, ok bool) probeBody {
	b := probeBody{
		OK: ok, Status: h.Status.String(), Service: h.Service, Node: h.Node,
		NotReady: h.NotReady, Checks: make([]probeCheck, len(h.Checks)),
	}
	for i, c := range h.Checks {
		b.Checks[i] = probeCheck{
			ID: c.Id, Description: c.Description, Kind: c.Kind.String(), Critical: c.Critical,
			Status: c.Status.String(), Results: c.Results, Error: c.Error,
		}
		if !c.Time.IsZero() {
			b.Checks[i].Time = &c.Time
		}
	}
	return b
}
