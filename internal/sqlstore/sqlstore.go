// Package sqlstore opens the database of a service and brings its tables up to
// date: a SQLite file by default, MySQL, MariaDB or PostgreSQL by URL.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Dialect names the SQL that a database speaks, and the folder of its
// migrations in a Schema.
type Dialect string

// The dialects Open knows.
const (
	SQLite   Dialect = "sqlite"
	MySQL    Dialect = "mysql"
	Postgres Dialect = "postgres"
)

// DB is an open database.
type DB struct {
	*sql.DB
	Dialect Dialect
	writing chan struct{} // nil: any number at a time
	owner   *os.File      // locked as long as the database is open; nil for those on a server
}

// Close closes the database. A second call does nothing.
func (db *DB) Close() error {
	err := db.DB.Close()
	if db.owner == nil {
		return err
	}
	if cerr := db.owner.Close(); !errors.Is(cerr, os.ErrClosed) {
		err = errors.Join(err, cerr)
	}
	return err
}

// Alone runs work that writes, on SQLite one at a time and in turn: connections
// that wait for each other there poll, and of many some would not get to write
// within the busy timeout. work must not call it again.
func (db *DB) Alone(ctx context.Context, work func() error) error {
	if db.writing != nil {
		select {
		case db.writing <- struct{}{}:
			defer func() { <-db.writing }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return work()
}

// Within runs f Alone and in a transaction, which is rolled back when f fails.
func (db *DB) Within(ctx context.Context, f func(*sql.Tx) error) error {
	return db.Alone(ctx, func() error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := f(tx); err != nil {
			_ = tx.Rollback() // the first error is the one to know
			return err
		}
		return tx.Commit()
	})
}

// Open opens the database at a URL, waits until it answers or ctx ends, and
// brings the tables of the schema up to date. URLs are
//
//	sqlite:///var/lib/trace-srv/trace.db   a file, made when absent, of one instance of a service at a time
//	sqlite::memory:                        private and gone with Close
//	mysql://user:password@host:3306/name   MySQL or MariaDB; ?tls=true for TLS
//	postgres://user:password@host/name     PostgreSQL; ?tls=true for TLS, and what libpq
//	                                       has: several hosts, target_session_attrs, sslrootcert
//
// Statements have "?" for their arguments in every dialect.
func Open(ctx context.Context, rawURL string, schema Schema, opts ...Option) (*DB, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	db, err := o.connect(rawURL)
	if err != nil {
		return nil, err
	}
	if db.owner, err = own(rawURL, schema.Service); err != nil {
		return nil, closeAfter(db, err)
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, closeAfter(db, fmt.Errorf("open %s database: %w", db.Dialect, err))
	}
	if schema.Migrations == nil {
		return db, nil
	}
	if err := db.migrate(ctx, schema); err != nil {
		return nil, closeAfter(db, err)
	}
	return db, nil
}

// Option asks for a database of a special sort.
type Option func(*options)

type options struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial sets how connections to a server are made.
func Dial(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

func closeAfter(db *DB, err error) error {
	if cerr := db.Close(); cerr != nil {
		return fmt.Errorf("%w; and then: %w", err, cerr)
	}
	return err
}

func (o options) connect(rawURL string) (*DB, error) {
	scheme, rest, _ := strings.Cut(rawURL, ":")
	switch scheme {
	case "sqlite":
		return o.openSQLite(strings.TrimPrefix(rest, "//"))
	case "mysql":
		return o.openMySQL(rawURL)
	case "postgres", "postgresql":
		return o.openPostgres(rawURL)
	}
	// The URL may hold a password: name only its scheme.
	return nil, fmt.Errorf("database URL: unknown scheme %q, want sqlite, mysql or postgres", scheme)
}

const sqliteConns = 8 // one of them writes

func (o options) openSQLite(path string) (*DB, error) {
	if path == "" {
		return nil, fmt.Errorf("database URL: no file, want sqlite:///path/name.db")
	}
	pragmas := url.Values{"_txlock": {"immediate"}, "_pragma": {
		// What was acknowledged survives a power cut, too.
		"journal_mode(wal)", "synchronous(full)", "busy_timeout(5000)", "foreign_keys(1)",
	}}
	if err := private(path); err != nil {
		return nil, err
	}
	name := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) // SQLite reads a URL
	db, err := sql.Open("sqlite", "file:"+name+"?"+pragmas.Encode())
	if err != nil {
		return nil, fmt.Errorf("open sqlite database: %w", err)
	}
	conns := sqliteConns
	if path == ":memory:" { // each connection would be a database of its own
		conns = 1
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return &DB{DB: db, Dialect: SQLite, writing: make(chan struct{}, 1)}, nil
}

// private makes the file, if it is not there, for its owner alone: it may hold
// secrets. SQLite gives its other files the same mode.
func private(path string) error {
	if path == ":memory:" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open sqlite database: %w", err)
	}
	return f.Close()
}

func (o options) openMySQL(rawURL string) (*DB, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("database URL: not of the form mysql://user:password@host:3306/name")
	}
	c := mysql.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr = "tcp", u.Host
	if u.Port() == "" {
		c.Addr = u.Host + ":3306"
	}
	c.DBName = strings.TrimPrefix(u.Path, "/")
	c.Timeout, c.ReadTimeout, c.WriteTimeout = 5*time.Second, 30*time.Second, 30*time.Second
	c.InterpolateParams = false
	// After a failover what was the primary refuses to write: its connections
	// are given up, and new ones may lead to the server that took over.
	c.RejectReadOnly = true
	c.Logger = &mysql.NopLogger{} // whoever runs a statement gets the error
	c.DialFunc = o.dial
	if u.Query().Get("tls") == "true" {
		c.TLSConfig = "true"
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("open mysql database: %w", err)
	}
	db := sql.OpenDB(connector)
	pool(db)
	return &DB{DB: db, Dialect: MySQL}, nil
}

// pool bounds the connections to a server.
func pool(db *sql.DB) {
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(30 * time.Minute) // busy ones go where the name leads by then, too
}
