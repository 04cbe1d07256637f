// Package srv is go.micro.srv.db, the service behind package db: it keeps
// records in the databases it was given or finds at the registry, in SQLite,
// MySQL, PostgreSQL, Cassandra or Elasticsearch.
package srv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/internal/srv/records"
	pb "github.com/micro/go-platform/db/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/lifecycle"
)

type given struct {
	location
	credentials
}

type settings struct {
	databases    map[string]given
	credentials  map[string]credentials
	discover     bool
	announce     bool
	createTables bool
	events       bool
	dial         func(ctx context.Context, network, address string) (net.Conn, error)
	errs         []error // of flags
}

// Service returns the service.
func Service() daemon.Service { return service(newSettings()) }

func newSettings() *settings {
	return &settings{
		databases: make(map[string]given), credentials: make(map[string]credentials),
		discover: true, announce: true, createTables: true,
	}
}

func service(s *settings) daemon.Service {
	boolean := func(name, usage string, to *bool) cli.Flag {
		return &cli.BoolFlag{Name: name, Usage: usage, Value: *to, Destination: to, EnvVars: []string{"MICRO_DB_" + strings.ToUpper(name)}}
	}
	return daemon.Service{
		Name:  db.ServiceName,
		Usage: "keeps records in SQLite, MySQL, PostgreSQL, Cassandra or Elasticsearch",
		Flags: []cli.Flag{
			&cli.GenericFlag{
				Name: "database", Value: &pairs{"database", s.addDatabase, &s.errs}, EnvVars: []string{"MICRO_DB_DATABASES"},
				Usage: "`NAME=URL` of a database to serve and announce, repeatable (in the variable: separated by spaces): sqlite:///path/file.db, " +
					"mysql://user:password@host/database, cassandra://user:password@host,host/keyspace?replicas=3, " +
					"elasticsearch://user:password@host/prefix?tls=true. Without one for it, \"" + db.DefaultDatabase + "\" lives at database_url",
			},
			&cli.GenericFlag{
				Name: "credential", Value: &pairs{"credential", s.addCredential, &s.errs}, EnvVars: []string{"MICRO_DB_CREDENTIALS"},
				Usage: "`NAME=USER:PASSWORD` for a database that is found at the registry, repeatable; others see the command line, so prefer the variable",
			},
			boolean("discover", "find further databases at the registry, as "+db.RegistryPrefix+"NAME: who can write there can lead db-srv anywhere", &s.discover),
			boolean("announce", "register the databases given by hand", &s.announce),
			boolean("create_tables", "create tables (and keyspaces, indices) at the first write; without it they must be there", &s.createTables),
			boolean("events", "publish every change to event-srv, not only those of clients that ask for it", &s.events),
		},
		Check: s.check,
		Start: s.start,
	}
}

// pairs is a flag that may be repeated; other kinds of the library's split at
// commas, which URLs have. Its errors are told at the start: the library's own
// message would repeat the value, and the password in it.
type pairs struct {
	flag string
	add  func(name, value string) error
	errs *[]error
}

// Set implements flag.Value.
func (p *pairs) Set(text string) error {
	for _, pair := range strings.Fields(text) {
		if err := p.set(pair); err != nil {
			*p.errs = append(*p.errs, fmt.Errorf("--%s: %w", p.flag, err))
		}
	}
	return nil
}

func (p *pairs) set(pair string) error {
	name, value, ok := strings.Cut(pair, "=")
	if !ok {
		return errors.New("want NAME=..., see --help")
	}
	if !db.ValidName(name) {
		return fmt.Errorf("a name is not of at most %d of a-z, 0-9 and _, a letter first", db.MaxName)
	}
	return p.add(name, value)
}

// String implements flag.Value.
func (p *pairs) String() string { return "" }

func (s *settings) addDatabase(name, url string) error {
	if _, ok := s.databases[name]; ok {
		return fmt.Errorf("database %s: given twice", name)
	}
	l, c, err := parseLocation(name, url)
	if err != nil {
		return err
	}
	s.databases[name] = given{l, c}
	return nil
}

func (s *settings) addCredential(name, text string) error {
	c, err := parseUser(text)
	if err != nil {
		return fmt.Errorf("credential of database %s: %w", name, err)
	}
	s.credentials[name] = c
	return nil
}

// addDefault makes sure that there is the default database.
func (s *settings) addDefault(env *daemon.Env) error {
	if _, ok := s.databases[db.DefaultDatabase]; ok {
		return nil
	}
	url, err := env.DatabaseAt()
	if err != nil {
		return err
	}
	return s.addDatabase(db.DefaultDatabase, url)
}

func (s *settings) check(env *daemon.Env) error {
	return errors.Join(errors.Join(s.errs...), s.addDefault(env))
}

func (s *settings) start(ctx context.Context, env *daemon.Env) error {
	r := newRelay(env.Client, env.Logger)
	d := newDirectory(s, env.Registry, env.Logger, r)
	var group lifecycle.Group
	env.OnStop(func(ctx context.Context) error {
		return errors.Join(group.Stop(lifecycle.FlushTimeout), r.queue.Stop(), d.close(ctx))
	})
	// A SQLite file that cannot be opened fails the start: waiting does not help.
	for _, name := range slices.Sorted(maps.Keys(s.databases)) {
		if s.databases[name].driver == sqliteDriver {
			if _, err := d.get(ctx, name); err != nil {
				return err
			}
		}
	}
	env.Ready("databases", d.ready)
	if err := pb.RegisterDBHandler(env.Server, &records.Handler{Open: d.find, Events: s.events}); err != nil {
		return err
	}
	loops := []func(context.Context){d.keep}
	if s.announce {
		loops = append(loops, func(ctx context.Context) { d.announce(ctx, env) })
	}
	return errors.Join(r.queue.Start(), group.Start(loops...))
}
