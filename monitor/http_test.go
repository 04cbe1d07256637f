package monitor_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/monitor/discard"
)

func TestProbeBodies(t *testing.T) {
	m := discard.NewMonitor(monitor.Server(idle("shop")))
	h := m.NewHealthChecker("db", "the database", func() (map[string]string, error) {
		return map[string]string{"lag": "9s"}, errors.New("<b>behind</b>\nforged: line")
	})
	if err := m.Register(h); err != nil {
		t.Fatal(err)
	}
	_, _ = h.Run() // its error is the point
	w := httptest.NewRecorder()
	monitor.ReadyzHandler(m).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	var body struct {
		OK       bool
		Status   string
		Node     string
		NotReady []string `json:"not_ready"`
		Checks   []struct {
			ID, Kind, Status, Error string
			Critical                bool
			Results                 map[string]string
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if w.Code != 503 || body.OK || body.Status != "UNKNOWN" || body.Node != "shop-1" || len(body.NotReady) != 2 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	c := body.Checks[0]
	if c.ID != "db" || c.Kind != "ready" || c.Status != "ERROR" || !c.Critical || c.Results["lag"] != "9s" || c.Error != "<b>behind</b> forged: line" {
		t.Errorf("check: %+v", c)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	w = httptest.NewRecorder()
	monitor.HealthzHandler(m).ServeHTTP(w, httptest.NewRequest("POST", "/healthz", nil))
	if w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("POST: %d", w.Code)
	}
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
}

func TestContext(t *testing.T) {
	if _, ok := monitor.FromContext(context.Background()); ok {
		t.Error("a monitor in an empty context")
	}
	m := discard.NewMonitor(monitor.Server(idle("shop")))
	if got, ok := monitor.FromContext(monitor.NewContext(context.Background(), m)); !ok || got != m {
		t.Error("not the monitor that was put in")
	}
}
