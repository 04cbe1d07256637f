package discard_test

import (
	"testing"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/discard"
)

func TestDiscard(t *testing.T) {
	l := log.NewLog(log.WithOutput(discard.NewOutput()))
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	l.Info("m")
	if err := l.Stop(); err != nil || l.Dropped() != 0 {
		t.Errorf("%v, dropped %d", err, l.Dropped())
	}
}

func BenchmarkLog(b *testing.B) {
	l := log.NewLog(log.WithOutput(discard.NewOutput()))
	b.Run("disabled", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.Debug("message")
		}
	})
	b.Run("held", func(b *testing.B) {
		held := l.WithFields(log.Fields{"a": "1", "b": "2", "c": "3"})
		b.ReportAllocs()
		for b.Loop() {
			held.Info("message")
		}
	})
}

func TestNoAllocations(t *testing.T) {
	l := log.NewLog(log.WithOutput(discard.NewOutput()))
	held := l.WithFields(log.Fields{"a": "1", "b": "2", "c": "3"})
	var hidden log.Logger = held
	for name, do := range map[string]func(){
		"disabled": func() { l.Debug("message") },
		"held":     func() { hidden.Infof("message") },
	} {
		// The pool of events may be emptied by a collection in between.
		if n := testing.AllocsPerRun(1000, do); n >= 1 && !raceEnabled {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
