package logstash_test

import (
	"testing"

	"go.uber.org/goleak"
)

// What runs already is the janitor that go-micro's client starts when imported.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }
