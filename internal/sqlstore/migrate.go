package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

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

func (db *DB) migrate(ctx context.Context, schema Schema) error {
	p, err := db.provider(schema)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	err = db.alone(ctx, func() error {
		_, err := p.Up(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("migrate %s database: %w", db.Dialect, err)
	}
	return nil
}

// provider returns what applies a schema. It records versions in a table of the
// service's own: in goose's usual one the services that share a database would
// take each other's for theirs.
func (db *DB) provider(schema Schema) (*goose.Provider, error) {
	folder, err := fs.Sub(schema.Migrations, string(db.Dialect))
	if err != nil {
		return nil, err
	}
	dialects := map[Dialect]database.Dialect{
		SQLite: database.DialectSQLite3, MySQL: database.DialectMySQL, Postgres: database.DialectPostgres,
	}
	store, err := database.NewStore(dialects[db.Dialect], "micro_"+schema.Service+"_version")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectCustom, db.DB, folder, goose.WithStore(store))
}

// lockWait is how long an instance waits for another that migrates.
const lockWait = time.Minute

// lockOf is how the one that migrates a database on a server is told: the first
// statement takes a lock of that name, and reports whether it got it, the second
// gives it back.
func lockOf(d Dialect) (take, give string) {
	if d == Postgres {
		const name = `hashtextextended('migrate', (SELECT oid FROM pg_database WHERE datname = current_database())::bigint)`
		return `SELECT 1 FROM (SELECT pg_advisory_lock(` + name + `)) AS taken`, `SELECT pg_advisory_unlock(` + name + `)`
	}
	const name = `CONCAT('migrate:', MD5(DATABASE()))`
	return `SELECT GET_LOCK(` + name + `, 60)`, `DO RELEASE_LOCK(` + name + `)`
}

// alone keeps instances that start at the same time from migrating a database on
// a server together: MySQL's DDL knows no transactions, and PostgreSQL's
// "if not exists" does not wait for them.
func (db *DB) alone(ctx context.Context, f func() error) (err error) {
	if db.Dialect == SQLite {
		return f()
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	take, give := lockOf(db.Dialect)
	waited, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	var got sql.NullInt64
	err = conn.QueryRowContext(waited, take).Scan(&got)
	if got.Int64 != 1 && (err == nil || waited.Err() != nil && ctx.Err() == nil) {
		return errors.New("another instance has been migrating for a minute")
	}
	if err != nil {
		return err
	}
	defer func() {
		_, uerr := conn.ExecContext(context.WithoutCancel(ctx), give)
		err = errors.Join(err, uerr)
	}()
	return f()
}
