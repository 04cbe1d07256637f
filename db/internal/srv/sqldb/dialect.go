package sqldb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"

	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/sqlstore"
)

// dialect is what the SQL of the engines differs in. A table of records
// has the prefix r_ and its terms have t_; f_ has the highest fencing token of
// each id that ever saw one. Everything is compared byte by byte.
type dialect struct {
	create    []string // statements with the table's name as %s; the last creates the records, see missing
	raise     string   // statement that raises a fence, or leaves it, and locks it
	forUpdate string
	isolation sql.IsolationLevel
	after     func(beyond string, c *driver.Cursor) (text string, args []any) // what comes behind a cursor in the order of "o"
	indexed   string                                                          // what an index has of a value with the name %s; empty: all
	classify  func(error) error                                               // one of the sentinels below and of driver, or nil
}

var (
	errDuplicate = errors.New("duplicate key")
	errAgain     = errors.New("transaction lost a race")
	errNoTable   = errors.New("table is missing")
	errTooMany   = fmt.Errorf("%w: it has as many prepared statements as it may", driver.ErrUnavailable)
)

func dialectOf(d sqlstore.Dialect) dialect {
	switch d {
	case sqlstore.MySQL:
		return mysqlDialect()
	case sqlstore.Postgres:
		return postgresDialect()
	}
	return sqliteDialect()
}

func sqliteDialect() dialect {
	return dialect{
		create: []string{
			`CREATE TABLE IF NOT EXISTS t_%[1]s (id TEXT NOT NULL, k TEXT NOT NULL, v TEXT NOT NULL, PRIMARY KEY (id, k)) WITHOUT ROWID`,
			`CREATE INDEX IF NOT EXISTS found_%[1]s ON t_%[1]s (k, v, id)`,
			`CREATE TABLE IF NOT EXISTS f_%[1]s (id TEXT NOT NULL PRIMARY KEY, fence TEXT NOT NULL) WITHOUT ROWID`,
			`CREATE TABLE IF NOT EXISTS r_%[1]s (id TEXT NOT NULL PRIMARY KEY, created INTEGER NOT NULL, updated INTEGER NOT NULL,
				etag TEXT NOT NULL, metadata BLOB NOT NULL, data BLOB NOT NULL)`,
		},
		raise:    `INSERT INTO f_%s (id, fence) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET fence = max(fence, excluded.fence)`,
		after:    afterRow,
		classify: classifySQLite,
	}
}

func mysqlDialect() dialect {
	return dialect{
		create: []string{
			`CREATE TABLE IF NOT EXISTS t_%[1]s (id VARBINARY(255) NOT NULL, k VARBINARY(128) NOT NULL, v VARBINARY(8300) NOT NULL,
				PRIMARY KEY (id, k), KEY found (k, v(512), id)) ENGINE = InnoDB`,
			`CREATE TABLE IF NOT EXISTS f_%[1]s (id VARBINARY(255) NOT NULL PRIMARY KEY, fence VARBINARY(16) NOT NULL) ENGINE = InnoDB`,
			`CREATE TABLE IF NOT EXISTS r_%[1]s (id VARBINARY(255) NOT NULL PRIMARY KEY, created BIGINT NOT NULL, updated BIGINT NOT NULL,
				etag VARBINARY(64) NOT NULL, metadata MEDIUMBLOB NOT NULL, data LONGBLOB NOT NULL) ENGINE = InnoDB`,
		},
		raise:     `INSERT INTO f_%s (id, fence) VALUES (?, ?) ON DUPLICATE KEY UPDATE fence = GREATEST(fence, VALUES(fence))`,
		forUpdate: " FOR UPDATE",
		// The default would lock the gaps between ids, too.
		isolation: sql.LevelReadCommitted,
		after:     afterValue,
		classify:  classifyMySQL,
	}
}

func classifyMySQL(err error) error {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return nil
	}
	switch e.Number {
	case 1062:
		return errDuplicate
	case 1146:
		return missing(e.Message)
	case 1205, 1213:
		return errAgain
	case 1461:
		return errTooMany
	case 1040, 1053, 1152, 1203, 1927: // too many connections, shutting down
		return driver.ErrUnavailable
	}
	return nil
}

// ofRecords finds the name of a table of records in what an engine says of one
// that is missing: "Table 'shop.r_orders' doesn't exist", "no such table:
// main.r_orders", `relation "r_orders" does not exist`.
var ofRecords = regexp.MustCompile(`[ ."]r_[a-z0-9_]+\b`)

// missing returns the sentinel of a table that is not there. Only a missing table of
// records means that there are none. It is created last: where it is, the others are.
func missing(message string) error {
	if ofRecords.MatchString(message) {
		return fmt.Errorf("%w: %w", driver.ErrNoTable, errNoTable)
	}
	return errNoTable
}

// The codes of SQLite, see https://www.sqlite.org/rescode.html.
const (
	sqliteError          = 1
	sqliteBusy           = 5
	sqliteLocked         = 6
	sqliteFull           = 13
	sqliteSchema         = 17 // another connection has created a table meanwhile
	sqliteConstraintPK   = 1555
	sqliteConstraintUniq = 2067
)

func classifySQLite(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return nil
	}
	switch code := e.Code(); {
	case code == sqliteConstraintPK || code == sqliteConstraintUniq:
		return errDuplicate
	case (code == sqliteError || code == sqliteSchema) && strings.Contains(e.Error(), "no such table"):
		return missing(e.Error())
	case code&0xff == sqliteBusy || code&0xff == sqliteLocked:
		return errAgain
	case code == sqliteFull:
		return driver.ErrUnavailable
	}
	return nil
}

// wrap says what was being done and gives err the sentinel it deserves.
func (d dialect) wrap(ctx context.Context, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	case errors.Is(err, rpcerr.ErrNotFound) || errors.Is(err, rpcerr.ErrConflict):
		return err
	}
	if sentinel := d.classify(err); sentinel != nil {
		return fmt.Errorf("%s: %w: %w", doing, sentinel, err)
	}
	var network net.Error
	if errors.Is(err, sqldriver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) {
		return fmt.Errorf("%s: %w: %w", doing, driver.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
