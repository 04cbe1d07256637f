package srv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/plugin"
	pb "github.com/micro/go-platform/event/proto"
)

// checksum is CRC-32C: SQLite has no checksums of its pages, and a flipped bit
// shall not be taken for a record.
func checksum(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// stretch is how many sequences one statement looks at when it searches for
// types that may be rare.
const stretch = 4096

// Read implements eventlog.Store.
func (s *sqlStore) Read(ctx context.Context, after uint64, f plugin.Filter, limit int) ([]*pb.Record, uint64, error) {
	end := s.last.Load()
	if len(f.Exact())+len(f.Prefixes()) > 0 {
		end = min(end, after+stretch)
	}
	if after >= end {
		return nil, after, nil
	}
	var w where
	w.and("sequence > ?", after)
	w.and("sequence <= ?", end)
	w.types(f)
	found, err := s.records(ctx, `SELECT sequence, crc, data FROM records`+w.text()+` ORDER BY sequence LIMIT ?`, append(w.args, limit)...)
	if err != nil {
		return nil, 0, fmt.Errorf("read records: %w", err)
	}
	if found.rows >= limit || found.cut {
		end = found.seen
	}
	return found.records, end, nil
}

// where is the conditions of a statement.
type where struct {
	all  []string
	args []any
}

func (w *where) and(condition string, args ...any) {
	w.all = append(w.all, condition)
	w.args = append(w.args, args...)
}

func (w *where) text() string {
	if len(w.all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.all, " AND ")
}

// types makes f a condition. A prefix ends in a dot, after which comes the
// slash.
func (w *where) types(f plugin.Filter) {
	var any []string
	for _, p := range f.Prefixes() {
		any = append(any, "type >= ? AND type < ?")
		w.args = append(w.args, p, afterPrefix(p))
	}
	if exact := f.Exact(); len(exact) > 0 {
		any = append(any, "type IN (?"+strings.Repeat(", ?", len(exact)-1)+")")
		for _, t := range exact {
			w.args = append(w.args, t)
		}
	}
	if f.All() {
		any = append(any, "type < ?", "type >= ?")
		w.args = append(w.args, event.ReservedPrefix, afterPrefix(event.ReservedPrefix))
	}
	w.all = append(w.all, "("+strings.Join(any, " OR ")+")")
}

func afterPrefix(p string) string { return p[:len(p)-1] + "/" }

// found is what a query selected.
type found struct {
	records []*pb.Record
	rows    int    // of them, those that are damaged included
	seen    uint64 // the last sequence that was looked at
	cut     bool   // at MaxPage bytes: there may be more
}

// short reports whether there may be more although there are fewer than the limit.
func (f found) short(limit int64) bool {
	return f.cut || int64(f.rows) == limit && len(f.records) < f.rows
}

// records reads what a query selects, until it is MaxPage bytes. What does not fit its
// checksum is left out.
func (s *sqlStore) records(ctx context.Context, text string, args ...any) (f found, err error) {
	rows, err := s.db.QueryContext(ctx, text, args...)
	if err != nil {
		return f, err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	size := 0
	for rows.Next() {
		var crc uint32
		var data sql.RawBytes
		if err := rows.Scan(&f.seen, &crc, &data); err != nil {
			return f, err
		}
		f.rows++
		r := &pb.Record{}
		if checksum(data) != crc || proto.Unmarshal(data, r) != nil {
			s.log.Error("a record on disk is damaged and is left out", "sequence", f.seen)
			continue
		}
		r.Sequence = f.seen
		f.records = append(f.records, r)
		if size += len(data); size > eventlog.MaxPage {
			f.cut = true
			return f, nil
		}
	}
	return f, rows.Err()
}

// Before implements eventlog.Store. The time of append grows with the
// sequence, so that it needs no index.
func (s *sqlStore) Before(ctx context.Context, nano int64) (uint64, error) {
	expired, last, err := s.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	low, high := expired, last // what was appended before is in low..high
	for low < high {
		middle := low + (high-low)/2
		var sequence uint64
		var appended int64
		err := s.db.QueryRowContext(ctx, `SELECT sequence, appended FROM records WHERE sequence > ? ORDER BY sequence LIMIT 1`, middle).
			Scan(&sequence, &appended)
		switch {
		case errors.Is(err, sql.ErrNoRows), err == nil && appended >= nano:
			high = middle
		case err != nil:
			return 0, fmt.Errorf("find a time in the log: %w", err)
		default:
			low = sequence
		}
	}
	return low, nil
}

// Find implements eventlog.Store.
func (s *sqlStore) Find(ctx context.Context, id string) (*pb.Record, error) {
	f, err := s.records(ctx, `SELECT sequence, crc, data FROM records WHERE id = ? ORDER BY sequence DESC LIMIT 1`, id)
	if err != nil {
		return nil, fmt.Errorf("find record: %w", err)
	}
	if len(f.records) == 0 {
		return nil, nil
	}
	return f.records[0], nil
}

// Erase implements eventlog.Store.
func (s *sqlStore) Erase(ctx context.Context, id string) (n int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		var bytes int64
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(LENGTH(data)), 0) FROM records WHERE id = ?`, id).Scan(&n, &bytes); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM records WHERE id = ?`, id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE log SET bytes = bytes - ?`, bytes)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("erase record: %w", err)
	}
	return n, nil
}

// expireRows is how many records one transaction of Expire removes at most.
const expireRows = 1000

// Expire implements eventlog.Store.
func (s *sqlStore) Expire(ctx context.Context, before, bytes int64) (more bool, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		upTo, size, n, err := old(ctx, tx, before, bytes)
		if err != nil || n == 0 {
			return err
		}
		more = n == expireRows
		if _, err := tx.ExecContext(ctx, `DELETE FROM records WHERE sequence <= ?`, upTo); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE log SET expired = ?, bytes = bytes - ?`, upTo, size)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("remove old records: %w", err)
	}
	return more, nil
}

// old finds the first records that are to be removed: the last of their
// sequences, their bytes and how many they are.
func old(ctx context.Context, tx *sql.Tx, before, most int64) (upTo uint64, size int64, n int, err error) {
	var held int64
	if err := tx.QueryRowContext(ctx, `SELECT bytes FROM log`).Scan(&held); err != nil {
		return 0, 0, 0, err
	}
	found, err := tx.QueryContext(ctx, `SELECT sequence, appended, LENGTH(data) FROM records ORDER BY sequence LIMIT ?`, expireRows)
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { _ = found.Close() }() // found.Err tells
	for found.Next() {
		var sequence uint64
		var appended, length int64
		if err := found.Scan(&sequence, &appended, &length); err != nil {
			return 0, 0, 0, err
		}
		if appended >= before && (most <= 0 || held-size <= most) {
			break
		}
		upTo, size, n = sequence, size+length, n+1
	}
	return upTo, size, n, found.Err()
}
