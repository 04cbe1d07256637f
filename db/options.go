package db

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/db/plugin"
	"github.com/micro/go-platform/internal/rpc"
)

// Options are those of a DB.
type Options struct {
	Database string
	Table    string
	Client   client.Client
	TLS      *tls.Config
	Timeout  time.Duration
	Events   bool
	Service  plugin.Service // of plugins, in place of db-srv
}

// Option sets one of the Options.
type Option func(*Options)

func newOptions() Options {
	return Options{Database: DefaultDatabase, Table: DefaultTable, Timeout: rpc.DefaultTimeout}
}

func (o Options) validate() error {
	var errs []error
	if !ValidName(o.Database) {
		errs = append(errs, fmt.Errorf("db: option Database: %w: %.60q is no name", ErrInvalid, o.Database))
	}
	if !ValidName(o.Table) {
		errs = append(errs, fmt.Errorf("db: option Table: %w: %.60q is no name", ErrInvalid, o.Table))
	}
	if o.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("db: option Timeout: %w: %v is not positive", ErrInvalid, o.Timeout))
	}
	return errors.Join(errs...)
}

// Database sets the database, default DefaultDatabase. See ValidName.
func Database(name string) Option { return func(o *Options) { o.Database = name } }

// Table sets the table, default DefaultTable. See ValidName.
func Table(name string) Option { return func(o *Options) { o.Table = name } }

// Client sets the client whose registry leads to db-srv, default
// client.DefaultClient.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// TLS is used to reach db-srv when the client is not a grpc client with settings
// of its own.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Timeout bounds a call without a context of its own, default 5 s.
func Timeout(d time.Duration) Option { return func(o *Options) { o.Timeout = d } }

// Events sets whether db-srv publishes each change made through this DB as an
// event of type "db.DATABASE.TABLE.ACTION", where the action is create, update
// or delete; see the README for what it holds. Where the database has
// transactions the event cannot get lost. Default false; db-srv may be told to
// publish all changes besides.
func Events(publish bool) Option { return func(o *Options) { o.Events = publish } }
