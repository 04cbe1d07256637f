// Package sqlstore opens the database of a service and brings its tables up to
// date: a SQLite file by default, MySQL or MariaDB by URL.
package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Dialect names the SQL that a database speaks, and the folder of its
// migrations.
type Dialect string

// The dialects Open knows.
const (
	SQLite Dialect = "sqlite"
	MySQL  Dialect = "mysql"
)

// DB is an open database.
type DB struct {
	*sql.DB
	Dialect Dialect
}

// Open opens the database at a URL, waits until it answers or ctx ends, and
// applies the migrations found in the folder of its dialect (goose's file
// format); with nil it changes nothing. URLs are
//
//	sqlite:///var/lib/trace-srv/trace.db   a file, made when absent
//	sqlite::memory:                        private and gone with Close
//	mysql://user:password@host:3306/name   MySQL or MariaDB; ?tls=true for TLS
func Open(ctx context.Context, rawURL string, migrations fs.FS, opts ...Option) (*DB, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	db, err := o.connect(rawURL)
	if err != nil {
		return nil, err
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, closeAfter(db, fmt.Errorf("open %s database: %w", db.Dialect, err))
	}
	if migrations == nil {
		return db, nil
	}
	if err := db.migrate(ctx, migrations); err != nil {
		return nil, closeAfter(db, err)
	}
	return db, nil
}

// Option asks for a database of a special sort.
type Option func(*options)

type options struct {
	durable bool
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// Durable makes a commit on SQLite outlive the machine, not only the process:
// each waits for the disk.
func Durable() Option { return func(o *options) { o.durable = true } }

// Dial sets how connections to MySQL are made.
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
	}
	// The URL may hold a password: name only its scheme.
	return nil, fmt.Errorf("database URL: unknown scheme %q, want sqlite or mysql", scheme)
}

func (o options) openSQLite(path string) (*DB, error) {
	if path == "" {
		return nil, fmt.Errorf("database URL: no file, want sqlite:///path/name.db")
	}
	synchronous := "synchronous(normal)"
	if o.durable {
		synchronous = "synchronous(full)"
	}
	pragmas := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"journal_mode(wal)", synchronous, "busy_timeout(5000)", "foreign_keys(1)",
	}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+pragmas.Encode())
	if err != nil {
		return nil, fmt.Errorf("open sqlite database: %w", err)
	}
	if path == ":memory:" { // each connection would be a database of its own
		db.SetMaxOpenConns(1)
	}
	return &DB{db, SQLite}, nil
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
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return &DB{db, MySQL}, nil
}

func (db *DB) migrate(ctx context.Context, migrations fs.FS) error {
	folder, err := fs.Sub(migrations, string(db.Dialect))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	dialect := goose.DialectSQLite3
	if db.Dialect == MySQL {
		dialect = goose.DialectMySQL
	}
	provider, err := goose.NewProvider(dialect, db.DB, folder)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s database: %w", db.Dialect, err)
	}
	return nil
}
