package backend

import (
	"os"
	"testing"
)

// Chromium returns the path of a Chromium browser. The test starts it through its client library; nothing
// here runs it.
func Chromium(tb testing.TB) string {
	tb.Helper()
	const variable = "GO_PLATFORM_CHROMIUM"
	if path := os.Getenv(variable); path != "" {
		return path
	}
	path, ok := program("chromium", "chromium-browser", "google-chrome")()
	if !ok {
		missing(tb, "chromium", "chromium", variable)
	}
	return path
}
