package sqlstore

import (
	"errors"
	"net"
	"net/url"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestNumbered(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT 1":                               "SELECT 1",
		"a = ? AND b IN (?, ?)":                  "a = $1 AND b IN ($2, $3)",
		"a = '?' AND b = ? AND c = 'it''s ? ' ?": "a = '?' AND b = $1 AND c = 'it''s ? ' $2",
		"name = 'Zoë' AND a = ?":                 "name = 'Zoë' AND a = $1",
	} {
		if got := numbered(text); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestSecured(t *testing.T) {
	for query, want := range map[string]string{
		"": "disable", "?tls=true": "verify-full", "?tls=false": "disable", "?sslmode=require": "require", "?tls=true&sslmode=verify-ca": "verify-ca",
	} {
		u, err := url.Parse("postgres://u:p@h/n" + query)
		if err != nil {
			t.Fatal(err)
		}
		if q := secured(u).Query(); q.Get("sslmode") != want || q.Has("tls") {
			t.Errorf("%q: %v", query, q)
		}
	}
}

// A server that is asked and says nothing is given up; the driver's own
// deadlines hold.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer func() { _ = far.Close() }()  // of memory
		defer func() { _ = near.Close() }() // as well
		c := &impatient{Conn: near}
		read := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			_, err := c.Read(make([]byte, 1))
			if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != want {
				t.Errorf("%v after %v, want %v", err, took, want)
			}
		}
		read(readTimeout)
		for _, set := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline} {
			if err := set(time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			read(time.Second)
			if err := set(time.Time{}); err != nil {
				t.Fatal(err)
			}
			read(readTimeout)
		}
		// As the driver does when the context of a statement ends.
		past := time.Now()
		time.AfterFunc(2*time.Second, func() { _ = c.SetDeadline(past) })
		read(2 * time.Second)
	})
}
