package metrics_test

import (
	"errors"
	"testing"
	"time"

	"github.com/micro/go-platform/metrics"
)

// An Init while Start goes on waits for it: what it set would hold for nobody.
func TestInitWaitsForStart(t *testing.T) {
	in, release := make(chan struct{}), make(chan struct{})
	p := &metrics.Plugin{
		Config: func(metrics.Options) metrics.StoreConfig { return metrics.StoreConfig{} },
		Begin:  func(metrics.Options) error { close(in); <-release; return nil },
	}
	p.Setup()
	started, result := make(chan error, 1), make(chan error, 1)
	go func() { started <- p.Start() }()
	<-in
	go func() { result <- p.Init(metrics.BatchInterval(time.Hour)) }()
	var err error
	select {
	case err = <-result:
		close(release)
	case <-time.After(100 * time.Millisecond): // it waits
		close(release)
		err = <-result
	}
	if !errors.Is(err, metrics.ErrStarted) || p.Options().BatchInterval == time.Hour {
		t.Errorf("Init beside Start: %v, BatchInterval is %v", err, p.Options().BatchInterval)
	}
	if err := errors.Join(<-started, p.Stop()); err != nil {
		t.Error(err)
	}
}
