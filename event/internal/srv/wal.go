package srv

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/micro/go-platform/internal/sqlstore"
)

// databaseFile returns the file of a SQLite database, or "".
func databaseFile(databaseURL string) string {
	rest, isFile := strings.CutPrefix(databaseURL, "sqlite://")
	path, _, _ := strings.Cut(rest, "?")
	if !isFile || path == ":memory:" {
		return ""
	}
	return path
}

// checkWAL reports whether the write-ahead log of a SQLite database ends in the
// middle of something. SQLite itself drops what is behind the last whole
// commit without a word.
func checkWAL(database string) (torn bool, err error) {
	if database == "" {
		return false, nil
	}
	f, err := os.Open(database + "-wal")
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write-ahead log: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	_, torn, err = scanWAL(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return false, fmt.Errorf("write-ahead log: %w", err)
	}
	return torn, nil
}

// scanWAL reads a write-ahead log (sqlite.org/fileformat2.html, section 4.1)
// and tells how many frames are whole and whether a frame of the same
// generation follows that is not.
func scanWAL(r io.Reader) (good int, bad bool, err error) {
	header := make([]byte, 32)
	if _, err := io.ReadFull(r, header); err != nil {
		return 0, false, notEOF(err)
	}
	magic := binary.BigEndian.Uint32(header)
	if magic&^1 != 0x377f0682 {
		return 0, true, nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 == 1 {
		order = binary.BigEndian
	}
	pageSize := int(binary.BigEndian.Uint32(header[8:]))
	if pageSize < 512 || pageSize > 65536 {
		return 0, true, nil
	}
	sum := walSum(order, [2]uint32{}, header[:24])
	if sum != stored(header[24:]) {
		return 0, true, nil
	}
	frame := make([]byte, 24+pageSize)
	for ; ; good++ {
		n, err := io.ReadFull(r, frame)
		if n < 16 {
			return good, false, notEOF(err)
		}
		if string(frame[8:16]) != string(header[16:24]) {
			return good, false, nil // left from an earlier generation
		}
		if err != nil {
			return good, true, notEOF(err)
		}
		if sum = walSum(order, walSum(order, sum, frame[:8]), frame[24:]); sum != stored(frame[16:24]) {
			return good, true, nil
		}
	}
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func stored(b []byte) [2]uint32 {
	return [2]uint32{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

func walSum(order binary.ByteOrder, s [2]uint32, data []byte) [2]uint32 {
	for ; len(data) >= 8; data = data[8:] {
		s[0] += order.Uint32(data) + s[1]
		s[1] += order.Uint32(data[4:]) + s[0]
	}
	return s
}

// tornGap is how many sequences are left out after a damaged end of which
// nobody knows what it was: subscribers may have seen records that are cut off,
// and must not take new ones for these.
const tornGap = 1 << 20

// repair says loudly what the end of the log has lost, cuts off records there
// that are damaged, and sees to it that no sequence is given twice. A marker
// that is not exact may be older than what was given last.
func (s *sqlStore) repair(ctx context.Context, torn bool, said mark) error {
	damaged, err := s.damagedEnd(ctx)
	if err != nil {
		return fmt.Errorf("check the end of the log: %w", err)
	}
	last := s.last.Load()
	next := max(last, said.sequence)
	switch {
	case next > last || torn && !said.exact:
		s.log.Error("the end of the log on disk is torn or damaged and is cut off; what is before it is served",
			"last", last, "acknowledged", said.sequence)
	case torn:
		s.log.Info("a commit that was not finished is cut off; nothing of it was acknowledged", "last", last)
	}
	if !said.exact && (torn || next > last || len(damaged) > 0) {
		next += tornGap
	}
	if len(damaged) > 0 {
		s.log.Error("damaged records at the end of the log are cut off", "records", len(damaged), "first", damaged[len(damaged)-1])
	}
	if len(damaged) == 0 && next == last {
		return nil
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		for _, sequence := range damaged {
			if _, err := tx.ExecContext(ctx, `DELETE FROM records WHERE sequence = ?`, sequence); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `UPDATE log SET last = ?`, next)
		return err
	})
	if err != nil {
		return fmt.Errorf("cut off the end of the log: %w", err)
	}
	s.last.Store(next)
	return nil
}

// damagedEnd returns the sequences of the newest records, newest first, that
// do not fit their checksums, up to the first that does.
func (s *sqlStore) damagedEnd(ctx context.Context) ([]uint64, error) {
	if s.db.Dialect != sqlstore.SQLite {
		return nil, nil // MySQL has checksums of its own
	}
	found, err := s.db.QueryContext(ctx, `SELECT sequence, crc, data FROM records ORDER BY sequence DESC LIMIT 1000`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }() // found.Err tells
	var damaged []uint64
	for found.Next() {
		var sequence uint64
		var crc uint32
		var data sql.RawBytes
		if err := found.Scan(&sequence, &crc, &data); err != nil {
			return nil, err
		}
		if checksum(data) == crc {
			break
		}
		damaged = append(damaged, sequence)
	}
	return damaged, found.Err()
}
