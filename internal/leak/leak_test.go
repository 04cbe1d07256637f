package leak

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { Main(m) }

type tests func() int

func (f tests) Run() int { return f() }

// TestItWaitsForWhatEnds is about a goroutine that outlives the tests by more
// than goleak's own patience.
func TestItWaitsForWhatEnds(t *testing.T) {
	begun := time.Now()
	here := goleak.IgnoreCurrent()
	code := patient{tests(func() int {
		go func() { <-time.After(time.Second) }()
		return 0
	}), []goleak.Option{here}}.Run()
	if err := goleak.Find(here); code != 0 || err != nil || time.Since(begun) < time.Second {
		t.Errorf("code %d after %v, %v", code, time.Since(begun), err)
	}
}

func TestFailedTestsAreNotWaitedFor(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	code := patient{tests(func() int {
		go func() { <-end }()
		return 1
	}), nil}.Run()
	if code != 1 {
		t.Errorf("code %d", code)
	}
}
