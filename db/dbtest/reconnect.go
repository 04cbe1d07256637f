package dbtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/micro/go-platform/db"
)

// RunReconnect checks what happens while the database behind the service is
// away and when it is back. It is a suite of its own since it needs a database
// that can be killed: down kills it, up starts it again with what was stored.
func RunReconnect(t *testing.T, n New, down, up func(t *testing.T)) {
	t.Helper()
	d := n(t, db.Table(NewName("reconnect")))
	start(t, d)
	var before db.Record
	must(t, d.Create(db.NewRecord("a", db.Metadata{"k": 1}, []byte("kept")), db.Returning(&before)))
	down(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	err := d.Update(db.NewRecord("a", nil, []byte("lost")), db.IfMatch("never"), db.WithContext(ctx))
	cancel()
	if !errors.Is(err, db.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it is away: %v, want ErrUnavailable or a deadline", err)
	}
	up(t)
	Eventually(t, "it answers again", func() bool {
		r, err := d.Read("a")
		return err == nil && string(r.Bytes()) == "kept" && r.ETag() == before.ETag()
	})
	Eventually(t, "it finds again", func() bool {
		found, err := d.Search(db.Metadata{"k": 1}, 0, 0)
		return err == nil && ids(found) == "a"
	})
	Eventually(t, "it writes again", func() bool {
		return d.Update(db.NewRecord("a", nil, nil)) == nil
	})
}

// Eventually polls until ok holds and fails the test after a minute.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}
