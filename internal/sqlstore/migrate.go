package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// Schema is the tables of one service, which may share a database with others.
type Schema struct {
	Service string // "trace": the versions of its tables are in micro_trace_version
	// Migrations has a folder for each dialect, in goose's file format. With nil
	// nothing is changed.
	Migrations fs.FS
}

func (s Schema) versions() string { return "micro_" + s.Service + "_version" }

// migrator applies a schema to a database.
type migrator struct {
	db       *DB
	schema   Schema
	provider *goose.Provider
	store    database.Store
}

func (db *DB) migrator(schema Schema) (*migrator, error) {
	folder, err := fs.Sub(schema.Migrations, string(db.Dialect))
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	dialect := database.DialectSQLite3
	if db.Dialect == MySQL {
		dialect = database.DialectMySQL
	}
	m := &migrator{db: db, schema: schema}
	if m.store, err = database.NewStore(dialect, schema.versions()); err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	m.provider, err = goose.NewProvider(goose.DialectCustom, db.DB, folder, goose.WithStore(m.store))
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	return m, nil
}

func (db *DB) migrate(ctx context.Context, schema Schema) error {
	m, err := db.migrator(schema)
	if err != nil {
		return err
	}
	err = db.alone(ctx, func() error {
		if err := m.adopt(ctx); err != nil {
			return err
		}
		_, err := m.provider.Up(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("migrate %s database: %w", db.Dialect, err)
	}
	return nil
}

// alone keeps instances that start at the same time from migrating a MySQL
// database together: its DDL knows no transactions.
func (db *DB) alone(ctx context.Context, f func() error) (err error) {
	if db.Dialect != MySQL {
		return f()
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	const name = `CONCAT('migrate:', MD5(DATABASE()))`
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(`+name+`, 60)`).Scan(&got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return errors.New("another instance has been migrating for a minute")
	}
	defer func() {
		_, uerr := conn.ExecContext(context.WithoutCancel(ctx), `DO RELEASE_LOCK(`+name+`)`)
		err = errors.Join(err, uerr)
	}()
	return f()
}

// Columns returns the names of a table's columns, none of a table that is not
// there.
func (db *DB) Columns(ctx context.Context, table string) (map[string]bool, error) {
	text := `SELECT name FROM pragma_table_info(?)`
	if db.Dialect == MySQL {
		text = `SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?`
	}
	found := make(map[string]bool)
	err := db.each(ctx, func(name string) { found[name] = true }, text, table)
	return found, err
}

// each calls f with the texts that a query finds.
func (db *DB) each(ctx context.Context, f func(string), text string, args ...any) error {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return err
		}
		f(s)
	}
	return rows.Err()
}
