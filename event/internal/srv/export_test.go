package srv

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/internal/jslog"
	"github.com/micro/go-platform/internal/sqlstore"
)

// OpenSQL opens the store at the URL as the service does. The returned
// function closes it.
func OpenSQL(t testing.TB, url string, log *slog.Logger) (eventlog.Store, func()) {
	t.Helper()
	file := databaseFile(url)
	torn, err := checkWAL(file)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlstore.Open(context.Background(), url, sqlstore.Schema{Service: "event", Migrations: migrations})
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSQL(context.Background(), db, file, torn, time.Hour, log)
	if err != nil {
		t.Fatal(err)
	}
	return s, func() { _, _ = s.Close(), db.Close() } // tests look at what is on disk instead
}

// LimitPages makes the disk of a SQLite store full at that many pages; 0 is no
// limit.
func LimitPages(t *testing.T, s eventlog.Store, pages int) {
	t.Helper()
	if pages == 0 {
		pages = 1 << 30
	}
	var now int
	if err := s.(*sqlStore).conn.QueryRowContext(context.Background(), fmt.Sprint("PRAGMA max_page_count = ", pages)).Scan(&now); err != nil {
		t.Fatal(err)
	}
}

// Checkpoint moves everything into the database file.
func Checkpoint(t *testing.T, s eventlog.Store) {
	t.Helper()
	if _, err := s.(*sqlStore).conn.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
}

// OpenNATS opens the store in the stream.
func OpenNATS(t *testing.T, url, stream string) (eventlog.Store, func()) {
	t.Helper()
	js, err := jslog.Connect([]string{url}, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := connectNATS(t.Context(), js, jslog.Config{Name: stream, Window: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return s, func() { _ = s.Close() } // it only closes the connection
}

// ScanWAL reads a write-ahead log.
func ScanWAL(data []byte) (good int, bad bool, err error) { return scanWAL(bytes.NewReader(data)) }
