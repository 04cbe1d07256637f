package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

// OpenPostgres opens the Database on the one of Hosts that takes writes.
func OpenPostgres(ctx context.Context, c driver.Config) (driver.Store, error) {
	hosts, ports := make([]string, len(c.Hosts)), make([]string, len(c.Hosts))
	for i, at := range c.Hosts {
		var err error
		if hosts[i], ports[i], err = net.SplitHostPort(at); err != nil {
			return nil, fmt.Errorf("open postgres database: %w", err)
		}
	}
	q := url.Values{"host": {strings.Join(hosts, ",")}, "port": {strings.Join(ports, ",")}, "target_session_attrs": {"read-write"}}
	if c.Secure {
		q.Set("tls", "true")
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(c.User, c.Password), Path: "/" + c.Database, RawQuery: q.Encode()}
	return open(ctx, c, u.String())
}

// An entry of an index has a third of a page at most, so that the one of terms has
// the beginning of their values.
func postgresDialect() dialect {
	return dialect{
		create: []string{
			`CREATE TABLE IF NOT EXISTS t_%[1]s (id BYTEA NOT NULL, k BYTEA NOT NULL, v BYTEA NOT NULL, PRIMARY KEY (id, k))`,
			`CREATE INDEX IF NOT EXISTS found_%[1]s ON t_%[1]s (k, substring(v, 1, 512), id)`,
			`CREATE TABLE IF NOT EXISTS f_%[1]s (id BYTEA NOT NULL PRIMARY KEY, fence BYTEA NOT NULL)`,
			`CREATE TABLE IF NOT EXISTS r_%[1]s (id BYTEA NOT NULL PRIMARY KEY, created BIGINT NOT NULL, updated BIGINT NOT NULL,
				etag BYTEA NOT NULL, metadata BYTEA NOT NULL, data BYTEA NOT NULL)`,
		},
		raise:     `INSERT INTO f_%[1]s (id, fence) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET fence = GREATEST(f_%[1]s.fence, excluded.fence)`,
		forUpdate: " FOR UPDATE",
		isolation: sql.LevelReadCommitted,
		after:     afterRow,
		classify:  classifyPostgres,
		indexed:   "substring(%s, 1, 512)",
	}
}

// classifyPostgres goes by SQLSTATE, see appendix A of PostgreSQL's manual.
func classifyPostgres(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return nil
	}
	switch e.Code {
	case "23505", "42P07", "42710": // unique_violation, duplicate_table, duplicate_object: the type of its rows
		return errDuplicate
	case "42P01": // undefined_table
		return missing(e.Message)
	case "40001", "40P01", "55P03": // serialization_failure, deadlock_detected, lock_not_available
		return errAgain
	case "53100", "53300", "57P01", "57P02", "57P03": // disk full, too many connections, shutting down, crashed, starting
		return driver.ErrUnavailable
	}
	return nil
}
