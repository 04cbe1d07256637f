package srv_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/go-platform/event/internal/eventlog"
	eventsrv "github.com/micro/go-platform/event/internal/srv"
	"github.com/micro/go-platform/internal/rpctest"
)

// crashed returns what is on disk when a process dies after n commits of one
// record each.
func crashed(t *testing.T, n int) (database, wal, marker []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "event.db")
	s, closeStore := eventsrv.OpenSQL(t, "sqlite://"+path, quiet(t))
	defer closeStore()
	for i := range n {
		commit(t, s, entry(i))
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return read(path), read(path + "-wal"), read(path + "-acknowledged")
}

// reopen opens what is on disk and returns the store and what was logged.
func reopen(t *testing.T, database, wal, marker []byte) (eventlog.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "event.db")
	for name, data := range map[string][]byte{path: database, path + "-wal": wal, path + "-acknowledged": marker} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log rpctest.Buffer
	s, closeStore := eventsrv.OpenSQL(t, "sqlite://"+path, slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(closeStore)
	return s, log.String()
}

func TestTornWriteAheadLog(t *testing.T) {
	const n = 20
	database, wal, marker := crashed(t, n)
	whole, bad, err := eventsrv.ScanWAL(wal)
	if err != nil || bad || whole < n {
		t.Fatalf("the log of a killed process: %d whole pages, %v, %v", whole, bad, err)
	}
	flipped := bytes.Clone(wal)
	flipped[len(wal)-10] ^= 0x10
	// What a process leaves that is killed between the header of a page and the page.
	unfinished := append(bytes.Clone(wal), wal[32:32+24+4000]...)
	anotherBoot := bytes.Replace(marker, marker[len(marker)-20:], []byte("another run of it...\n")[1:], 1)
	// A commit changes five pages: that of the log, of the records and of three indexes.
	cut := wal[:len(wal)-6*(24+4096)]
	// The marker is not synced: after a power cut it may be behind.
	stale := func(sequence int) []byte {
		return bytes.Replace(anotherBoot, fmt.Appendf(nil, "%020d", n), fmt.Appendf(nil, "%020d", sequence), 1)
	}
	for name, c := range map[string]struct {
		wal, marker []byte
		served      int
		logged      string
		next        uint64
	}{
		"whole":                                  {wal, marker, n, "", n + 1},
		"torn page":                              {wal[:len(wal)-1000], marker, n - 1, "torn or damaged", n + 1},
		"torn header":                            {wal[:len(wal)-4100], marker, n - 1, "torn or damaged", n + 1},
		"flipped bit":                            {flipped, marker, n - 1, "torn or damaged", n + 1},
		"cut without a trace":                    {cut, marker, 0, "torn or damaged", n + 1},
		"unfinished commit":                      {unfinished, marker, n, "not finished", n + 1},
		"flipped bit, nobody knows":              {flipped, nil, n - 1, "torn or damaged", n + 1<<20},
		"flipped bit, restarted machine":         {flipped, anotherBoot, n - 1, "torn or damaged", n + 1 + 1<<20},
		"torn page, stale marker":                {wal[:len(wal)-1000], stale(n - 1), n - 1, "torn or damaged", n + 1<<20},
		"cut without a trace, stale marker":      {cut, stale(n - 1), 0, "torn or damaged", n + 1<<20},
		"unfinished commit, restarted machine":   {unfinished, anotherBoot, n, "torn or damaged", n + 1 + 1<<20},
		"the marker of another log says nothing": {wal, bytes.Replace(marker, marker[21:30], []byte("another!!"), 1), n, "", n + 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, logged := reopen(t, database, c.wal, c.marker)
			if c.logged == "" && logged != "" || !strings.Contains(logged, c.logged) {
				t.Errorf("logged %q", logged)
			}
			records, _, err := s.Read(t.Context(), 0, filter(t), 100)
			if err != nil {
				t.Fatal(err)
			}
			if c.served > 0 && len(records) != c.served {
				t.Errorf("%d records are served, want %d", len(records), c.served)
			}
			for i, r := range records {
				if r.Sequence != uint64(i)+1 || r.Data != fmt.Sprint("data", i) {
					t.Errorf("record %d is %v", i, r)
				}
			}
			e := entry(100)
			if commit(t, s, e); e.Sequence != c.next {
				t.Errorf("the next sequence is %d, want %d: one that was given must not be given again", e.Sequence, c.next)
			}
		})
	}
}

func TestFlippedRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "event.db")
	s, closeStore := eventsrv.OpenSQL(t, "sqlite://"+path, quiet(t))
	for i := range 20 {
		commit(t, s, entry(i))
	}
	eventsrv.Checkpoint(t, s)
	closeStore()
	database, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(text string) []byte {
		data := bytes.Clone(database)
		at := bytes.LastIndex(data, []byte(text))
		if at < 0 {
			t.Fatalf("%s is not in the file", text)
		}
		data[at] ^= 1
		return data
	}
	for text, c := range map[string]struct {
		served int
		logged string
		next   uint64
	}{"data19": {19, "end of the log", 21 + 1<<20}, "data5": {19, "", 21}} {
		t.Run(text, func(t *testing.T) {
			s, logged := reopen(t, flip(text), nil, nil)
			if !strings.Contains(logged, c.logged) {
				t.Errorf("logged %q", logged)
			}
			records, _, err := s.Read(t.Context(), 0, filter(t), 100)
			if err != nil || len(records) != c.served {
				t.Fatalf("%d records are served, %v; want %d", len(records), err, c.served)
			}
			page, cursor, err := s.Read(t.Context(), 0, filter(t), 10)
			if err != nil || cursor != 10 {
				t.Errorf("a page of 10: %d records up to %d, %v", len(page), cursor, err)
			}
			some, cut, err := s.Search(t.Context(), eventlog.Query{Filter: filter(t), Limit: 10})
			if err != nil || cut != (len(some) < 10) {
				t.Errorf("a search of 10: %d records, cut %v, %v", len(some), cut, err)
			}
			for _, r := range records {
				if r.Data == text || !strings.HasPrefix(r.Data, "data") {
					t.Errorf("a damaged record is served: %v", r)
				}
			}
			e := entry(100)
			if commit(t, s, e); e.Sequence != c.next {
				t.Errorf("next sequence %d, want %d", e.Sequence, c.next)
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "event.db")
	s, closeStore := eventsrv.OpenSQL(t, "sqlite://"+path, quiet(t))
	defer closeStore()
	eventsrv.LimitPages(t, s, 100)
	acknowledged := 0
	var full error
	for i := 0; i < 1000 && full == nil; i++ {
		e := entry(i)
		e.Record.Data = strings.Repeat("x", 2000)
		if full = s.Commit(t.Context(), []*eventlog.Entry{e}, nil); full == nil {
			acknowledged++
		}
	}
	if full == nil || !strings.Contains(full.Error(), "full") {
		t.Fatalf("the disk was never full: %v", full)
	}
	eventsrv.LimitPages(t, s, 0)
	commit(t, s, entry(2000))
	records, _, err := s.Read(t.Context(), 0, filter(t), 2000)
	if err != nil || len(records) != acknowledged+1 || records[acknowledged].Sequence != uint64(acknowledged)+1 {
		t.Errorf("%d records, %v; %d were acknowledged", len(records), err, acknowledged+1)
	}
}

// FuzzScanWAL reads what a broken disk may hold.
func FuzzScanWAL(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("7\x7f\x06\x82 and no more"))
	f.Add(bytes.Repeat([]byte{0x37, 0x7f, 0x06, 0x83}, 20))
	f.Fuzz(func(t *testing.T, data []byte) {
		if good, _, err := eventsrv.ScanWAL(data); err != nil || good*(24+512) > len(data) {
			t.Fatalf("%d whole pages in %d bytes, %v", good, len(data), err)
		}
	})
}
