// Package cassandra is db-srv's driver for Cassandra. A record is a row that is
// changed by lightweight transactions; its terms are rows of an index of our
// own, which searches walk.
package cassandra

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/rpcerr"
)

// buckets is how many partitions the terms of one key are spread over. It is
// part of what is stored.
const buckets = 8

// self is the key of the term that every record has: its id.
const self = ""

// idTerm makes an id such a term.
func idTerm(id string) string { return "s" + id }

func bucket(id string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // a hash never fails
	return int(h.Sum32() % buckets)
}

// A row of records with a fence stays when its record is deleted, with nothing in
// it but the fence. A term carries the etag of the state that wrote it, so that the
// removal of an old state's terms cannot hit those of a new one; the column indexed
// has these etags by key.
//
// Removed terms that come back do no harm, since searches look at the record: the
// deletions of terms are kept only as long as other nodes hold back writes for
// one that is away (max_hint_window, 3 hours), not for the usual ten days. A
// search reads past every one that is kept.
const (
	createRecords = `CREATE TABLE IF NOT EXISTS {r} (id text PRIMARY KEY, created bigint, updated bigint, etag text,
		terms frozen<map<text, text>>, metadata blob, data blob, fence text, indexed frozen<map<text, text>>)`
	createTerms = `CREATE TABLE IF NOT EXISTS {t} (k text, bucket int, v text, id text, etag text,
		PRIMARY KEY ((k, bucket), v, id, etag)) WITH gc_grace_seconds = 10800`
)

type store struct {
	session  *gocql.Session
	keyspace string
	fixed    bool // tables must be there
	creating sync.Mutex
}

// Open connects to the Hosts and creates the keyspace Database if need be.
func Open(ctx context.Context, c driver.Config) (driver.Store, error) {
	s, err := open(ctx, c, cluster(c))
	if err != nil {
		return nil, err
	}
	return s, nil
}

func cluster(c driver.Config) *gocql.ClusterConfig {
	cluster := gocql.NewCluster(c.Hosts...)
	cluster.ProtoVersion = 4
	cluster.ConnectTimeout, cluster.Timeout, cluster.WriteTimeout = 5*time.Second, 10*time.Second, 10*time.Second
	cluster.Consistency, cluster.SerialConsistency = gocql.Quorum, gocql.Serial
	cluster.ReconnectInterval = time.Second
	cluster.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 3, Interval: 500 * time.Millisecond}
	cluster.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.RoundRobinHostPolicy())
	cluster.WriteCoalesceWaitTime = 0
	cluster.Logger = gocql.NewLogger(gocql.LogLevelNone) // callers get the errors
	if c.User != "" {
		cluster.Authenticator = gocql.PasswordAuthenticator{Username: c.User, Password: c.Password}
	}
	if c.Dial != nil {
		cluster.Dialer = dialer(c.Dial)
	}
	if c.Secure {
		cluster.SslOpts = &gocql.SslOptions{EnableHostVerification: true}
	}
	return cluster
}

func open(ctx context.Context, c driver.Config, cluster *gocql.ClusterConfig) (*store, error) {
	session, err := cluster.CreateSession()
	if err != nil {
		return nil, fmt.Errorf("connect: %w: %w", driver.ErrUnavailable, err)
	}
	s := &store{session: session, keyspace: c.Database, fixed: c.NoCreate}
	if c.NoCreate {
		return s, nil
	}
	text := fmt.Sprintf(`CREATE KEYSPACE IF NOT EXISTS %s WITH replication = {'class': 'NetworkTopologyStrategy', 'replication_factor': %d}`,
		c.Database, max(c.Replicas, 1))
	if err := session.Query(text).ExecContext(ctx); err != nil {
		session.Close()
		return nil, wrap(ctx, "create keyspace", err)
	}
	return s, nil
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// DialContext implements gocql.Dialer.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}

func (s *store) Close() error {
	s.session.Close()
	return nil
}

func (s *store) Ping(ctx context.Context) error {
	return wrap(ctx, "ping", s.session.Query(`SELECT key FROM system.local`).ExecContext(ctx))
}

func (s *store) createTable(ctx context.Context, table string) error {
	if s.fixed {
		return fmt.Errorf("table %s: %w", table, driver.ErrNoTable)
	}
	s.creating.Lock() // Cassandra does not like schema changes side by side
	defer s.creating.Unlock()
	for _, text := range []string{createTerms, createRecords} { // whoever finds the records finds their terms
		if err := s.query(table, text).ExecContext(ctx); err != nil {
			return wrap(ctx, "create table "+table, err)
		}
	}
	return nil
}

// query binds a statement on the table of records, {r}, or that of terms, {t}.
func (s *store) query(table, text string, args ...any) *gocql.Query {
	return s.session.Query(s.text(table, text), args...)
}

func (s *store) text(table, text string) string {
	return strings.NewReplacer("{r}", s.keyspace+".r_"+table, "{t}", s.keyspace+".t_"+table).Replace(text)
}

// wrap says what was being done and gives err the sentinel it deserves.
func wrap(ctx context.Context, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	case errors.Is(err, rpcerr.ErrNotFound) || errors.Is(err, rpcerr.ErrExists) || errors.Is(err, rpcerr.ErrConflict):
		return err
	case noTable(err) || unfinished(err):
		return fmt.Errorf("%s: %w: %w", doing, driver.ErrNoTable, err)
	case unavailable(err):
		return fmt.Errorf("%s: %w: %w", doing, driver.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// unfinished reports whether a request met a table that is being created.
func unfinished(err error) bool {
	var e gocql.RequestError
	return errors.As(err, &e) && e.Code() == gocql.ErrCodeServer && strings.Contains(e.Message(), "Unknown CF ")
}

// noTable reports whether a request was refused because the table is missing.
func noTable(err error) bool {
	var e gocql.RequestError
	if !errors.As(err, &e) || e.Code() != gocql.ErrCodeInvalid {
		return false
	}
	message := e.Message()
	return strings.Contains(message, "unconfigured table") || strings.HasPrefix(message, "table ") && strings.HasSuffix(message, " does not exist")
}

func unavailable(err error) bool {
	var e gocql.RequestError
	if errors.As(err, &e) {
		return e.Code() < gocql.ErrCodeSyntax // faults of the cluster, not of the request
	}
	var network net.Error
	for _, known := range []error{
		gocql.ErrNoConnections, gocql.ErrConnectionClosed, gocql.ErrTimeoutNoResponse, gocql.ErrUnavailable,
		gocql.ErrNoConnectionsStarted, gocql.ErrSessionClosed, gocql.ErrNoStreams, io.EOF,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return errors.As(err, &network)
}

func level(eventual bool) gocql.Consistency {
	if eventual {
		return gocql.One
	}
	return gocql.Quorum
}

func (s *store) Read(ctx context.Context, table, id string, eventual bool) (*driver.Record, error) {
	r := &driver.Record{ID: id}
	err := s.query(table, `SELECT created, updated, etag, metadata, data FROM {r} WHERE id = ?`, id).
		Consistency(level(eventual)).ScanContext(ctx, &r.Created, &r.Updated, &r.ETag, &r.Metadata, &r.Data)
	if errors.Is(err, gocql.ErrNotFound) || err == nil && r.ETag == "" {
		return nil, rpcerr.ErrNotFound
	}
	if err = wrap(ctx, "read", err); errors.Is(err, driver.ErrNoTable) {
		return nil, rpcerr.ErrNotFound
	}
	return r, err
}
