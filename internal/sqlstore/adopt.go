package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"maps"

	"github.com/pressly/goose/v3/database"
)

// shared is where earlier releases recorded the versions of all services, each
// of which had one migration: where two met, or a program of the user's that
// uses goose too, the second believed its tables to be there.
const shared = "goose_db_version"

// adopt takes a database over from an earlier release: the first migration
// counts as applied when it is recorded in the shared table and every table that
// it makes is there, with the columns it gives it. A record that somebody else
// left fits no tables of ours.
func (m *migrator) adopt(ctx context.Context) error {
	recorded, err := m.recorded(ctx)
	if err != nil || !recorded {
		return err
	}
	want, err := firstTables(ctx, m.schema)
	if err != nil {
		return err
	}
	for table, columns := range want {
		there, err := m.db.Columns(ctx, table)
		if err != nil || !maps.Equal(there, columns) {
			return err
		}
	}
	return m.record(ctx)
}

// recorded tells whether the shared table has the first migration, and the
// service's own has nothing yet.
func (m *migrator) recorded(ctx context.Context) (bool, error) {
	own, err := m.db.rows(ctx, m.schema.versions(), "")
	if err != nil || own > 0 {
		return false, err
	}
	n, err := m.db.rows(ctx, shared, " WHERE version_id = 1 AND is_applied = 1")
	return n > 0, err
}

// rows counts those of a table that may not be there.
func (db *DB) rows(ctx context.Context, table, where string) (n int, err error) {
	columns, err := db.Columns(ctx, table)
	if err != nil || len(columns) == 0 {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM "+table+where).Scan(&n)
	return n, err
}

// record marks the first migration as applied.
func (m *migrator) record(ctx context.Context) error {
	made, err := m.db.Columns(ctx, m.schema.versions()) // MySQL commits a table at once
	if err != nil {
		return err
	}
	return m.db.Within(ctx, func(tx *sql.Tx) error {
		if len(made) == 0 {
			if err := m.store.CreateVersionTable(ctx, tx); err != nil {
				return err
			}
		}
		for _, version := range []int64{0, 1} { // goose's begin at 0
			if err := m.store.Insert(ctx, tx, database.InsertRequest{Version: version}); err != nil {
				return err
			}
		}
		return nil
	})
}

// firstTables returns the tables that the first migration makes, with their
// columns, which both dialects have in common: it makes them.
func firstTables(ctx context.Context, schema Schema) (_ map[string]map[string]bool, err error) {
	scratch, err := options{}.openSQLite(":memory:")
	if err != nil {
		return nil, err
	}
	defer func() { _ = scratch.Close() }() // it was in memory
	m, err := scratch.migrator(schema)
	if err != nil {
		return nil, err
	}
	if _, err := m.provider.UpTo(ctx, 1); err != nil {
		return nil, fmt.Errorf("first migration: %w", err)
	}
	tables := make(map[string]map[string]bool)
	err = scratch.each(ctx, func(name string) { tables[name] = nil },
		`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite@_%' ESCAPE '@' AND name <> ?`, schema.versions())
	for name := range tables {
		if err == nil {
			tables[name], err = scratch.Columns(ctx, name)
		}
	}
	return tables, err
}
