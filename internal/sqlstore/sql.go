package sqlstore

import (
	"errors"
	"strings"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// InsertNew returns the statement that inserts a row unless one of its keys is there.
// It affects no row then.
func (db *DB) InsertNew(table string, columns ...string) string {
	insert, end := "INSERT OR IGNORE INTO ", ""
	switch db.Dialect {
	case MySQL:
		insert = "INSERT IGNORE INTO " // its other leniencies do not matter: rows are validated
	case Postgres:
		insert, end = "INSERT INTO ", " ON CONFLICT DO NOTHING"
	}
	return insert + values(table, columns) + end
}

// Replace returns the statement that inserts a row, or gives the one with the
// same value in the first column, which is the primary key, the values of this one.
func (db *DB) Replace(table string, columns ...string) string {
	if db.Dialect != Postgres {
		return "REPLACE INTO " + values(table, columns)
	}
	set := make([]string, 0, len(columns))
	for _, c := range columns[1:] {
		set = append(set, c+" = excluded."+c)
	}
	return "INSERT INTO " + values(table, columns) + " ON CONFLICT (" + columns[0] + ") DO UPDATE SET " + strings.Join(set, ", ")
}

func values(table string, columns []string) string {
	return table + " (" + strings.Join(columns, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(columns)-1) + ")"
}

// ForUpdate ends a SELECT whose rows are to be locked until the transaction ends.
// SQLite's transactions lock the database.
func (db *DB) ForUpdate() string {
	if db.Dialect == SQLite {
		return ""
	}
	return " FOR UPDATE"
}

// IsDuplicate reports whether a statement was refused because a row with its
// key is there.
func IsDuplicate(err error) bool {
	var m *mysql.MySQLError
	var s *sqlite.Error
	switch {
	case errors.As(err, &m):
		return m.Number == 1062
	case errors.As(err, &s):
		return s.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || s.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
	}
	return pgCode(err) == "23505" // unique_violation
}

// IsRace reports whether a transaction was undone because it waited for another,
// so that it can be tried again.
func IsRace(err error) bool {
	var m *mysql.MySQLError
	var s *sqlite.Error
	switch {
	case errors.As(err, &m):
		return m.Number == 1205 || m.Number == 1213 // lock wait timeout, deadlock
	case errors.As(err, &s):
		return s.Code()&0xff == sqlite3.SQLITE_BUSY || s.Code()&0xff == sqlite3.SQLITE_LOCKED
	}
	switch pgCode(err) {
	case "40001", "40P01", "55P03": // serialization_failure, deadlock_detected, lock_not_available
		return true
	}
	return false
}
