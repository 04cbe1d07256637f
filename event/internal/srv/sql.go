package srv

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/internal/sqlstore"
)

//go:embed sqlite/*.sql mysql/*.sql postgres/*.sql
var migrations embed.FS

// sqlStore is the store in a SQL database. One process writes: opening the
// store makes it somebody else's turn, which every commit checks.
type sqlStore struct {
	db     *sqlstore.DB
	log    *slog.Logger
	window time.Duration // in which an id is known
	id     string
	epoch  int64
	last   atomic.Uint64

	mu     sync.Mutex // one write at a time
	ready  statements
	writer beginner
	conn   *sql.Conn // the writer, where there is one connection for it
	marker *marker   // nil for databases that are not a file
	unsure bool      // whether the last commit was done
}

type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

// openSQL opens the log in the database, whose file is named if it is one,
// takes it over and repairs its end. torn is what checkWAL said before the
// database was opened.
func openSQL(ctx context.Context, db *sqlstore.DB, file string, torn bool, window time.Duration, log *slog.Logger) (*sqlStore, error) {
	s := &sqlStore{db: db, log: log, window: window, writer: db, ready: statements{db: db.DB}}
	if err := s.open(ctx, file, torn); err != nil {
		return nil, errors.Join(fmt.Errorf("open the log: %w", err), s.Close())
	}
	return s, nil
}

func (s *sqlStore) open(ctx context.Context, file string, torn bool) error {
	if file == "" {
		s.ready.keep = s.db.Dialect != sqlstore.SQLite
		return s.takeOver(ctx)
	}
	var err error
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return err
	}
	s.writer = s.conn
	s.ready.keep = true
	// Without it the newest commits would be lost with the machine's power.
	if _, err := s.conn.ExecContext(ctx, "PRAGMA synchronous = FULL"); err != nil {
		return err
	}
	if err := s.takeOver(ctx); err != nil {
		return err
	}
	var said mark
	if s.marker, said, err = openMarker(file, s.id); err != nil {
		return err
	}
	if err := s.repair(ctx, torn, said); err != nil {
		return err
	}
	return s.marker.set(s.last.Load())
}

func (s *sqlStore) takeOver(ctx context.Context) error {
	return s.within(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.db.InsertNew("log", "one", "id", "epoch", "commits", "last", "expired", "bytes"), 1, uuid.NewString(), 0, 0, 0, 0, 0)
		if err != nil {
			return err
		}
		if _, err = tx.ExecContext(ctx, `UPDATE log SET epoch = epoch + 1`); err != nil {
			return err
		}
		var last uint64
		err = tx.QueryRowContext(ctx, `SELECT id, epoch, last FROM log`).Scan(&s.id, &s.epoch, &last)
		s.last.Store(last)
		return err
	})
}

// within runs f in a transaction of the writer.
func (s *sqlStore) within(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the first error is the one to know
		return err
	}
	return tx.Commit()
}

// write is within, for the one process that may.
func (s *sqlStore) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		// Nothing interrupts a disk; the driver would start a goroutine for
		// each statement to try it.
		ctx = context.WithoutCancel(ctx)
	}
	err := s.within(ctx, func(tx *sql.Tx) error {
		// A column that always changes: MySQL counts changed rows.
		result, err := s.ready.exec(ctx, tx, `UPDATE log SET commits = commits + 1 WHERE epoch = ?`, s.epoch)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, eventlog.ErrFenced)
		}
		if s.unsure {
			var last uint64
			if err := tx.QueryRowContext(ctx, `SELECT last FROM log`).Scan(&last); err != nil {
				return err
			}
			s.last.Store(last)
			s.unsure = false
		}
		return f(tx)
	})
	if err != nil {
		s.unsure = true
	}
	return err
}

// ID implements eventlog.Store.
func (s *sqlStore) ID() string { return s.id }

// Shared implements eventlog.Store.
func (s *sqlStore) Shared() bool { return false }

// Close implements eventlog.Store. It does not close the database.
func (s *sqlStore) Close() error {
	err := errors.Join(s.marker.close(), s.ready.close())
	if s.conn != nil {
		err = errors.Join(err, s.conn.Close())
	}
	return err
}

// Bounds implements eventlog.Store.
func (s *sqlStore) Bounds(ctx context.Context) (expired, last uint64, err error) {
	var epoch int64
	err = s.db.QueryRowContext(ctx, `SELECT expired, last, epoch FROM log`).Scan(&expired, &last, &epoch)
	if err == nil && epoch != s.epoch {
		err = eventlog.ErrFenced
	}
	if err != nil {
		err = fmt.Errorf("bounds of the log: %w", err)
	}
	return expired, last, err
}

// Commit implements eventlog.Store.
func (s *sqlStore) Commit(ctx context.Context, entries []*eventlog.Entry, states []eventlog.State) error {
	var last uint64
	err := s.write(ctx, func(tx *sql.Tx) error {
		fresh, err := s.fresh(ctx, tx, entries)
		if err != nil {
			return err
		}
		last = s.last.Load()
		bytes := 0
		for len(fresh) > 0 {
			n, size, err := s.insert(ctx, tx, fresh, last)
			if err != nil {
				return err
			}
			last += uint64(n)
			bytes += size
			fresh = fresh[n:]
		}
		if bytes > 0 {
			if _, err := s.ready.exec(ctx, tx, `UPDATE log SET last = ?, bytes = bytes + ?`, last, bytes); err != nil {
				return err
			}
		}
		for i, e := range entries {
			if e.Sequence == 0 { // a duplicate within this commit
				e.Sequence = sequenceOf(entries[:i], e.Record.Id)
			}
		}
		return s.save(ctx, tx, states)
	})
	if err != nil {
		return err
	}
	s.last.Store(max(last, s.last.Load()))
	return s.marker.set(s.last.Load())
}

func sequenceOf(entries []*eventlog.Entry, id string) uint64 {
	for _, e := range entries {
		if e.Record.Id == id && e.Sequence > 0 {
			return e.Sequence
		}
	}
	return 0
}

// Rows of one statement.
const rows = 64

// fresh returns the entries that are to be inserted.
func (s *sqlStore) fresh(ctx context.Context, tx *sql.Tx, entries []*eventlog.Entry) ([]*eventlog.Entry, error) {
	known := make(map[string]uint64)
	since := time.Now().Add(-s.window).UnixNano()
	for at := 0; at < len(entries); at += rows {
		if err := s.knownIDs(ctx, tx, known, entries[at:min(at+rows, len(entries))], since); err != nil {
			return nil, err
		}
	}
	fresh := make([]*eventlog.Entry, 0, len(entries))
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		e.Sequence, e.Duplicate = 0, false
		if !e.Again {
			e.Sequence, e.Duplicate = known[e.Record.Id], known[e.Record.Id] > 0 || seen[e.Record.Id]
		}
		seen[e.Record.Id] = true
		if !e.Duplicate {
			fresh = append(fresh, e)
		}
	}
	return fresh, nil
}

func (s *sqlStore) knownIDs(ctx context.Context, tx *sql.Tx, known map[string]uint64, entries []*eventlog.Entry, since int64) error {
	args := make([]any, 0, rows+1)
	for _, e := range entries {
		args = append(args, e.Record.Id)
	}
	found, err := s.ready.query(ctx, tx, `SELECT id, MIN(sequence) FROM records WHERE id IN (?`+
		strings.Repeat(", ?", len(args)-1)+`) AND appended >= ? GROUP BY id`, append(args, since))
	if err != nil {
		return err
	}
	defer func() { _ = found.Close() }() // found.Err tells
	for found.Next() {
		var id string
		var sequence uint64
		if err := found.Scan(&id, &sequence); err != nil {
			return err
		}
		known[id] = sequence
	}
	return found.Err()
}

// insert inserts the first entries after a sequence and returns how many and
// their bytes.
func (s *sqlStore) insert(ctx context.Context, tx *sql.Tx, fresh []*eventlog.Entry, last uint64) (n, bytes int, err error) {
	n = min(len(fresh), rows)
	args := make([]any, 0, n*7)
	for i, e := range fresh[:n] {
		data, err := proto.Marshal(e.Record)
		if err != nil {
			return 0, 0, err
		}
		e.Sequence = last + uint64(i) + 1
		bytes += len(data)
		args = append(args, e.Sequence, e.Record.Id, e.Record.Type, e.Record.TimestampNano, e.Record.Appended, checksum(data), data)
	}
	_, err = s.ready.exec(ctx, tx, `INSERT INTO records (sequence, id, type, occurred, appended, crc, data) VALUES (?, ?, ?, ?, ?, ?, ?)`+
		strings.Repeat(", (?, ?, ?, ?, ?, ?, ?)", n-1), args...)
	return n, bytes, err
}

func (s *sqlStore) save(ctx context.Context, tx *sql.Tx, states []eventlog.State) error {
	for _, st := range states {
		text, args := s.db.Replace("subscriptions", "name", "state"), []any{st.Name, st.Data}
		if st.Data == nil {
			text, args = `DELETE FROM subscriptions WHERE name = ?`, args[:1]
		}
		if _, err := s.ready.exec(ctx, tx, text, args...); err != nil {
			return err
		}
	}
	return nil
}

// States implements eventlog.Store.
func (s *sqlStore) States(ctx context.Context) ([]eventlog.State, error) {
	found, err := s.db.QueryContext(ctx, `SELECT name, state FROM subscriptions`)
	if err != nil {
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	defer func() { _ = found.Close() }() // found.Err tells
	var all []eventlog.State
	for found.Next() {
		var st eventlog.State
		if err := found.Scan(&st.Name, &st.Data); err != nil {
			return nil, fmt.Errorf("read subscriptions: %w", err)
		}
		all = append(all, st)
	}
	return all, found.Err()
}
