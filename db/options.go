package db

import (
	"context"
	"crypto/tls"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/db/plugin"
	judge "github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/internal/rpc"
)

// Options are those of a plugin. Make them with NewOptions.
type Options struct {
	Database string
	Table    string
	Client   client.Client
	TLS      *tls.Config
	Timeout  time.Duration
	Events   bool
	Service  plugin.Service // of plugins, in place of db-srv
	// Context carries the options that plugins define themselves.
	Context context.Context
}

// Option sets one of the Options.
type Option func(*Options)

// NewOptions returns the defaults with opts applied. It does not validate them.
func NewOptions(opts ...Option) Options {
	o := Options{Database: DefaultDatabase, Table: DefaultTable, Timeout: rpc.DefaultTimeout, Context: context.Background()}
	judge.Apply(&o, opts)
	return o
}

// Validate returns an ErrInvalid that names every option with a bad value.
func (o Options) Validate() error {
	c := judge.Of("db")
	c.That(ValidName(o.Database), "Database", "%.60q is not a name", o.Database)
	c.That(ValidName(o.Table), "Table", "%.60q is not a name", o.Table)
	c.Positive("Timeout", o.Timeout)
	return c.Err()
}

// Database sets the database, default DefaultDatabase. See ValidName.
func Database(name string) Option { return func(o *Options) { o.Database = name } }

// Table sets the table, default DefaultTable. See ValidName.
func Table(name string) Option { return func(o *Options) { o.Table = name } }

// Client sets the client whose registry leads to db-srv, default
// client.DefaultClient. A grpc client is used as it is. Any other client gives its
// registry, broker and wrappers to a grpc client of the plugin's own: the wrappers
// that it was made with (client.Wrap, client.WrapCall) and those of this platform
// (auth, trace). Its other wrappers, selector, timeouts and TLS do not apply.
func Client(c client.Client) Option { return func(o *Options) { o.Client = c } }

// TLS sets how to connect to db-srv, default plain text. It does not apply when
// Client is a grpc client, which has settings of its own.
func TLS(c *tls.Config) Option { return func(o *Options) { o.TLS = c } }

// Timeout bounds a call without a context of its own, default 5 s.
func Timeout(d time.Duration) Option { return func(o *Options) { o.Timeout = d } }

// Events sets whether db-srv publishes each change made through this DB as an
// event of type "db.DATABASE.TABLE.ACTION", where the action is create, update
// or delete; see the README for what it holds. Where the database has
// transactions the event cannot get lost. Default false; db-srv may be told to
// publish all changes besides.
func Events(publish bool) Option { return func(o *Options) { o.Events = publish } }
