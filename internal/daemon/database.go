package daemon

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/micro/go-platform/internal/sqlstore"
)

// Database opens the service's database, brings it up to date, makes readiness
// depend on it and closes it at stop. It waits for one that is away as long as
// DatabaseWait says. Without DatabaseURL it is a SQLite file
// in DataDir, or in memory when there is none.
func (e *Env) Database(ctx context.Context, migrations fs.FS) (*sqlstore.DB, error) {
	url, err := e.DatabaseAt()
	if err != nil {
		return nil, err
	}
	var db *sqlstore.DB
	err = e.Await(ctx, "the database", e.DatabaseWait, sqlstore.Away, func(ctx context.Context) (err error) {
		db, err = sqlstore.Open(ctx, url, sqlstore.Schema{Service: e.short(), Migrations: migrations})
		return err
	})
	if err != nil {
		return nil, err
	}
	e.OnStop(func(context.Context) error { return db.Close() })
	e.Ready("database", db.PingContext)
	return db, nil
}

// CheckDatabase judges the URL that was given, if one was, for Service.Check.
// The schemes in others are accepted unchecked.
func (e *Env) CheckDatabase(others ...string) error {
	scheme, _, _ := strings.Cut(e.DatabaseURL, ":")
	if e.DatabaseURL == "" || slices.Contains(others, scheme) {
		return nil
	}
	return sqlstore.Check(e.DatabaseURL)
}

// DatabaseAt returns the URL that Database opens. The directory of a file is
// there afterwards.
func (e *Env) DatabaseAt() (string, error) {
	if e.DatabaseURL != "" {
		return e.DatabaseURL, nil
	}
	if _, set := os.LookupEnv("DATABASE_URL"); set { // many hosts set it, and programs take it
		e.Logger.Warn("DATABASE_URL in the environment is not taken: give --database_url, or MICRO_DATABASE_URL")
	}
	if e.DataDir == "" {
		return "sqlite::memory:", nil
	}
	if err := os.MkdirAll(e.DataDir, 0o700); err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	return "sqlite://" + filepath.Join(e.DataDir, e.short()+".db"), nil
}

// short is the last part of the service's name: "trace".
func (e *Env) short() string { return e.Name[strings.LastIndex(e.Name, ".")+1:] }
