package logstash_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/micro/go-platform/internal/leak"
)

// What runs already is the janitor that go-micro's client starts when imported.
func TestMain(m *testing.M) { leak.Main(m, goleak.IgnoreCurrent()) }
