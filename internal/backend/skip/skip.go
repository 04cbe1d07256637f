// Package skip skips tests so that it is not forgotten: what "go test" says of a package whose tests were all
// skipped is "ok".
package skip

import (
	"fmt"
	"os"
	"testing"
)

// Variable names the environment variable that holds the path of the file to which [Test] appends. "make test"
// sets it, to another file each time.
const Variable = "GO_PLATFORM_SKIPPED"

// Test skips the test. The reason is a line that says what is missing and how to get it; "make test" counts the
// tests and prints the reasons at its end.
func Test(tb testing.TB, reason string) {
	tb.Helper()
	// Read only here, and with os.Getenv: go test then takes the file for an input of the packages that skip
	// something, and of no others, whose results it may take from its cache.
	if path := os.Getenv(Variable); path != "" {
		if err := note(path, reason); err != nil {
			tb.Errorf("note in %s what is skipped: %v", Variable, err)
		}
	}
	tb.Skip(reason)
}

// note writes the line at once, since the test binaries of several packages append to the file.
func note(path, reason string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, reason); err != nil {
		_ = f.Close() // the write's error says more
		return err
	}
	return f.Close()
}
