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
	dialect := database.DialectSQLite3
	if db.Dialect == MySQL {
		dialect = database.DialectMySQL
	}
	store, err := database.NewStore(dialect, "micro_"+schema.Service+"_version")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectCustom, db.DB, folder, goose.WithStore(store))
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
