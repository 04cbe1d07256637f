package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/micro/go-platform/internal/rpcerr"
)

// readTimeout bounds how long a server that is asked may say nothing.
const readTimeout = 30 * time.Second

var errPostgresURL = errors.New("database URL: not of the form postgres://user:password@host:5432/name")

func (o options) openPostgres(rawURL string) (*DB, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errPostgresURL // the parser's text may hold the password
	}
	c, err := pgx.ParseConfig(secured(u).String())
	if err != nil {
		return nil, errPostgresURL
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	dial := o.dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: readTimeout}).DialContext
	}
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &impatient{Conn: conn}, nil
	}
	db := sql.OpenDB(connector{stdlib.GetConnector(*c)})
	pool(db)
	return &DB{DB: db, Dialect: Postgres}, nil
}

// secured returns the URL with the driver's word for ?tls=true, and for its
// absence.
func secured(u *url.URL) *url.URL {
	q := u.Query()
	if q.Get("sslmode") == "" {
		q.Set("sslmode", "disable")
		if q.Get("tls") == "true" {
			q.Set("sslmode", "verify-full")
		}
	}
	q.Del("tls")
	to := *u
	to.RawQuery = q.Encode()
	return &to
}

// impatient is a connection that breaks when it is read from and nothing comes.
type impatient struct {
	net.Conn

	mu       sync.Mutex
	deadline time.Time // the driver's
}

func (c *impatient) Read(b []byte) (int, error) {
	c.mu.Lock()
	until := time.Now().Add(readTimeout)
	if !c.deadline.IsZero() && c.deadline.Before(until) {
		until = c.deadline
	}
	err := c.Conn.SetReadDeadline(until)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *impatient) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetDeadline(t)
}

func (c *impatient) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetReadDeadline(t)
}

// connector makes the driver speak as the others do: statements have "?" for
// their arguments, a string fits columns of text and of bytes, and a connection
// to a server that has become read-only is given up.
type connector struct{ driver.Connector }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	made, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, ok := made.(*stdlib.Conn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver made a %T", made), made.Close())
	}
	return &pgConn{conn}, nil
}

type pgConn struct{ *stdlib.Conn }

// CheckNamedValue leaves it to database/sql to make an argument one of the
// plain types.
func (c *pgConn) CheckNamedValue(*driver.NamedValue) error { return driver.ErrSkip }

func (c *pgConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.Conn.ExecContext(ctx, numbered(text), plain(args))
	return result, told(err)
}

func (c *pgConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.Conn.QueryContext(ctx, numbered(text), plain(args))
	return rows, told(err)
}

func (c *pgConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	made, err := c.Conn.PrepareContext(ctx, numbered(text))
	if err != nil {
		return nil, err
	}
	stmt, ok := made.(*stdlib.Stmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver made a %T", made), made.Close())
	}
	return &pgStmt{stmt}, nil
}

type pgStmt struct{ *stdlib.Stmt }

func (s *pgStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	result, err := s.Stmt.ExecContext(ctx, plain(args))
	return result, told(err)
}

func (s *pgStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.Stmt.QueryContext(ctx, plain(args))
	return rows, told(err)
}

// told makes the pool give up a connection to a server that is a standby now: new
// ones may lead to the one that took over. A column of text cannot hold what the
// other engines' can.
func told(err error) error {
	switch pgCode(err) {
	case "25006": // read_only_sql_transaction
		return driver.ErrBadConn
	case "22021": // character_not_in_repertoire
		return fmt.Errorf("%w: a text with a NUL character: %w", rpcerr.ErrInvalid, err)
	}
	return err
}

// pgCode returns the SQLSTATE of an error of the server, else "". See appendix A of
// PostgreSQL's manual.
func pgCode(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// plain sends strings as bytes: for a column of bytes the driver would send the
// way that a person writes them.
func plain(args []driver.NamedValue) []driver.NamedValue {
	for i, a := range args {
		if s, ok := a.Value.(string); ok {
			args[i].Value = []byte(s)
		}
	}
	return args
}

// numbered writes the places of arguments as $1, $2 and so on. What is quoted
// stays.
func numbered(text string) string {
	if !strings.Contains(text, "?") {
		return text
	}
	var out strings.Builder
	n, quoted := 0, false
	for _, r := range text {
		switch {
		case r == '\'':
			quoted = !quoted
		case r == '?' && !quoted:
			n++
			out.WriteString("$" + strconv.Itoa(n))
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}
