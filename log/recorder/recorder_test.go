package recorder_test

import (
	"testing"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/logtest"
	"github.com/micro/go-platform/log/recorder"
)

func TestRecorder(t *testing.T) {
	logtest.RunOutput(t, func(testing.TB) logtest.Fixture {
		rec := recorder.NewOutput()
		return logtest.Fixture{Output: rec, Read: rec.Events}
	})
}

func TestReset(t *testing.T) {
	rec := recorder.NewOutput()
	log.NewLog(log.WithOutput(rec)).Info("m")
	rec.Events()[0].Message = "changed"
	if rec.Events()[0].Message != "m" {
		t.Error("the recorder gives its own events away")
	}
	if rec.Reset(); len(rec.Events()) != 0 {
		t.Error("events after Reset")
	}
}
