package srv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/internal/srv/cassandra"
	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/db/internal/srv/elastic"
	"github.com/micro/go-platform/db/internal/srv/sqldb"
)

// The drivers, as node metadata and URLs name them.
const (
	sqliteDriver    = "sqlite"
	mysqlDriver     = "mysql"
	postgresDriver  = "postgres"
	cassandraDriver = "cassandra"
	elasticDriver   = "elasticsearch"
)

// location is where a database lives, without the credentials.
type location struct {
	driver   string
	hosts    []string // "host:port"; of sqlite from the registry: its db-srv
	path     string   // of a SQLite file of ours
	database string   // on the server
	replicas int
	secure   bool
}

func (l location) equal(o location) bool {
	return l.driver == o.driver && l.path == o.path && l.database == o.database && l.secure == o.secure && slices.Equal(l.hosts, o.hosts)
}

type credentials struct{ user, password string }

// open opens the database at l.
func (l location) open(ctx context.Context, c credentials, s *settings) (driver.Store, error) {
	config := driver.Config{
		Hosts: l.hosts, Path: l.path, Database: l.database, User: c.user, Password: c.password,
		Replicas: l.replicas, Secure: l.secure, NoCreate: !s.createTables, Dial: s.dial,
	}
	switch l.driver {
	case sqliteDriver:
		return sqldb.OpenSQLite(ctx, config)
	case mysqlDriver:
		return sqldb.OpenMySQL(ctx, config)
	case postgresDriver:
		return sqldb.OpenPostgres(ctx, config)
	case cassandraDriver:
		return cassandra.Open(ctx, config)
	}
	return elastic.Open(ctx, config)
}

// kind returns the driver of a URL's scheme and the port it has by default.
func kind(scheme string) (driver, port string, ok bool) {
	switch scheme {
	case "sqlite":
		return sqliteDriver, "", true
	case "mysql", "mariadb":
		return mysqlDriver, "3306", true
	case "postgres", "postgresql":
		return postgresDriver, "5432", true
	case "cassandra":
		return cassandraDriver, "9042", true
	case "elasticsearch", "opensearch":
		return elasticDriver, "9200", true
	}
	return "", "", false
}

// parseLocation reads the URL of a database:
//
//	sqlite:///path/file.db, sqlite::memory:
//	mysql://user:password@host:3306/database
//	postgres://user:password@host:5432,host:5432/database
//	cassandra://user:password@host:9042,host:9042/keyspace?replicas=3
//	elasticsearch://user:password@host:9200,host:9200/prefix?tls=true
//
// What comes behind the host defaults to the database's name. No error repeats
// any part of the URL: where a password holds one of /?#@ as it is, every part
// may be part of that.
func parseLocation(name, raw string) (l location, c credentials, err error) {
	scheme, rest, _ := strings.Cut(raw, ":")
	var port string
	var ok bool
	if l.driver, port, ok = kind(scheme); !ok {
		return l, c, fmt.Errorf("database %s: unknown scheme, want sqlite, mysql, postgres, cassandra or elasticsearch", name)
	}
	if l.driver == sqliteDriver {
		if l.path = strings.TrimPrefix(rest, "//"); l.path == "" {
			return l, c, fmt.Errorf("database %s: no file, want sqlite:///path/name.db", name)
		}
		return l, c, nil
	}
	rest, query, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "?")
	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		if c, err = parseUser(authority[:i]); err != nil {
			return l, c, fmt.Errorf("database %s: %w", name, err)
		}
		authority = authority[i+1:]
	}
	for _, host := range strings.Split(authority, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		l.hosts = append(l.hosts, host)
	}
	if l.database = path; l.database == "" {
		l.database = name
	}
	if err := l.parseQuery(query); err != nil {
		return l, c, fmt.Errorf("database %s: %w", name, err)
	}
	if err := l.check(); err != nil {
		return l, c, fmt.Errorf("database %s: %w", name, err)
	}
	return l, c, nil
}

func parseUser(text string) (c credentials, err error) {
	user, password, _ := strings.Cut(text, ":")
	if c.user, err = url.PathUnescape(user); err != nil {
		return c, errors.New("the user is not URL-encoded")
	}
	if c.password, err = url.PathUnescape(password); err != nil {
		return c, errors.New("the password is not URL-encoded")
	}
	return c, nil
}

func (l *location) parseQuery(text string) error {
	query, err := url.ParseQuery(text)
	if err != nil {
		return errors.New("the part behind ? is not URL-encoded")
	}
	for key, values := range query {
		switch key {
		case "tls":
			if l.secure = values[0] == "true"; !l.secure && values[0] != "false" {
				return errors.New("tls: want true or false")
			}
		case "replicas":
			if _, err := fmt.Sscanf(values[0], "%d", &l.replicas); err != nil || l.replicas < 1 || l.replicas > 100 {
				return errors.New("replicas: want 1 to 100")
			}
		default: // part of a password that has a ? in it, maybe
			return errors.New("a part behind ? is no setting, want tls or replicas")
		}
	}
	return nil
}

func (l *location) onSQLServer() bool { return l.driver == mysqlDriver || l.driver == postgresDriver }

// check refuses what could not be put into a statement, a path or the registry.
func (l *location) check() error {
	switch {
	case l.onSQLServer() && !schemaName.MatchString(l.database):
		return errors.New("database: want at most 64 of letters, digits, _, $ and -")
	case !l.onSQLServer() && !db.ValidName(l.database):
		return fmt.Errorf("keyspace or prefix: want at most %d of a-z, 0-9 and _, a letter first", db.MaxName)
	}
	for _, host := range l.hosts {
		name, port, err := net.SplitHostPort(host)
		_, perr := strconv.ParseUint(port, 10, 16)
		if err != nil || perr != nil || !hostName.MatchString(name) {
			return errors.New("a host is not of the form host:port, with a number for the port")
		}
	}
	return nil
}

var (
	schemaName = regexp.MustCompile(`^[a-zA-Z0-9_$-]{1,64}$`)
	hostName   = regexp.MustCompile(`^[a-zA-Z0-9._:%-]{1,255}$`)
)

// fromRegistry reads what the registry knows of a database. Nodes of another
// driver than the first one's are left out.
func fromRegistry(name string, services []*registry.Service) (location, error) {
	var nodes []*registry.Node
	for _, s := range services {
		nodes = append(nodes, s.Nodes...)
	}
	if len(nodes) == 0 {
		return location{}, errUnknown(name)
	}
	slices.SortFunc(nodes, func(a, b *registry.Node) int { return strings.Compare(a.Id, b.Id) })
	md := nodes[0].Metadata
	l := location{driver: md["driver"], database: md["database"], secure: md["tls"] == "true"}
	if _, _, ok := kind(l.driver); !ok {
		return l, fmt.Errorf("database %s: the registry names the unknown driver %.20q", name, l.driver)
	}
	if l.database == "" {
		l.database = name
	}
	for _, n := range nodes {
		if n.Metadata["driver"] == l.driver && !slices.Contains(l.hosts, n.Address) {
			l.hosts = append(l.hosts, n.Address)
		}
	}
	slices.Sort(l.hosts)
	if err := l.check(); err != nil {
		return l, fmt.Errorf("database %s: the registry's record: %w", name, err)
	}
	return l, nil
}

// toRegistry is what others may know of a database: no credentials, no paths.
func (l location) toRegistry(name, id, self string) *registry.Service {
	s := &registry.Service{Name: db.RegistryPrefix + name, Version: "1"}
	hosts := l.hosts
	if l.driver == sqliteDriver {
		hosts = []string{self}
	}
	for i, host := range hosts {
		md := map[string]string{"driver": l.driver}
		if l.database != "" {
			md["database"] = l.database
		}
		if l.secure {
			md["tls"] = "true"
		}
		s.Nodes = append(s.Nodes, &registry.Node{Id: fmt.Sprintf("%s-%s-%d", name, id, i), Address: host, Metadata: md})
	}
	return s
}
