package monitor_test

import (
	"testing"

	"github.com/micro/go-platform/monitor"
)

// The original's programs assign to the topics.
func TestTopicsAreVariables(t *testing.T) {
	for topic, want := range map[*string]string{
		&monitor.HealthCheckTopic: "micro.monitor.healthcheck", &monitor.StatusTopic: "micro.monitor.status", &monitor.StatsTopic: "micro.monitor.stats",
	} {
		if *topic != want {
			t.Errorf("%s, want %s", *topic, want)
		}
	}
}
