// Package sqldb is db-srv's driver for SQLite, MySQL or MariaDB, and PostgreSQL. A
// record is one row, its terms are rows of a second table, and an outbox keeps
// the changes of the same transaction.
package sqldb

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/url"

	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/sqlstore"
)

//go:embed sqlite/*.sql mysql/*.sql postgres/*.sql
var migrations embed.FS

type store struct {
	db      *sqlstore.DB
	dialect dialect
	cache   *cache
	fixed   bool // tables must be there: none is created
}

// OpenSQLite opens the file at Path, or a database in memory.
func OpenSQLite(ctx context.Context, c driver.Config) (driver.Store, error) {
	return open(ctx, c, "sqlite:"+c.Path)
}

// OpenMySQL opens the Database on the first of Hosts.
func OpenMySQL(ctx context.Context, c driver.Config) (driver.Store, error) {
	u := url.URL{Scheme: "mysql", Host: c.Hosts[0], Path: "/" + c.Database, User: url.UserPassword(c.User, c.Password)}
	if c.Secure {
		u.RawQuery = "tls=true"
	}
	return open(ctx, c, u.String())
}

func open(ctx context.Context, c driver.Config, url string) (driver.Store, error) {
	tables := sqlstore.Schema{Service: "db", Migrations: migrations}
	if c.NoCreate {
		tables.Migrations = nil
	}
	db, err := sqlstore.Open(ctx, url, tables, sqlstore.Dial(c.Dial))
	if err != nil {
		return nil, err
	}
	return &store{
		db: db, dialect: dialectOf(db.Dialect), fixed: c.NoCreate,
		cache: &cache{db: db.DB, tables: make(map[string]*prepared)},
	}, nil
}

func (s *store) Ping(ctx context.Context) error {
	return s.wrap(ctx, "ping", s.db.PingContext(ctx))
}

// wrap is the dialect's. The server may have no room for statements because of
// those that are kept here.
func (s *store) wrap(ctx context.Context, doing string, err error) error {
	err = s.dialect.wrap(ctx, doing, err)
	if errors.Is(err, errTooMany) {
		s.cache.forget()
	}
	return err
}

func (s *store) Close() error { return s.db.Close() }

// createTable is what a write does when it finds none, or only some of what
// belongs to it.
func (s *store) createTable(ctx context.Context, table string) error {
	for _, text := range s.dialect.create {
		_, err := s.db.ExecContext(ctx, fmt.Sprintf(text, table))
		err = s.wrap(ctx, "create table "+table, err)
		if err != nil && !errors.Is(err, errDuplicate) { // another made it at this moment
			return err
		}
	}
	return nil
}

func (s *store) Read(ctx context.Context, table, id string, _ bool) (*driver.Record, error) {
	p, done := s.cache.use(table)
	defer done()
	r := &driver.Record{ID: id}
	stmt, err := p.get(ctx, "SELECT created, updated, etag, metadata, data FROM r_"+table+" WHERE id = ?")
	if err == nil {
		err = stmt.QueryRowContext(ctx, id).Scan(&r.Created, &r.Updated, &r.ETag, &r.Metadata, &r.Data)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil, rpcerr.ErrNotFound
	}
	if err = s.wrap(ctx, "read", err); errors.Is(err, driver.ErrNoTable) {
		return nil, rpcerr.ErrNotFound
	}
	return r, err
}
