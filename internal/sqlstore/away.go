package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Away reports whether an error of Open is one of a database that cannot be
// reached, or not yet, and may be there in a moment.
func Away(err error) bool {
	var refused *mysql.MySQLError
	if errors.As(err, &refused) {
		switch refused.Number {
		case 1040, 1053, 1203: // too many connections, shutting down, too many of this user
			return true
		}
		return false
	}
	switch pgCode(err) {
	case "":
	case "53300", "57P01", "57P02", "57P03": // too many connections, shutting down, crashed, starting
		return true
	default:
		return false
	}
	var network *net.OpError
	var name *net.DNSError
	return errors.As(err, &network) || errors.As(err, &name) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// Check returns an error for a URL that cannot be used. It does not connect.
func Check(rawURL string) error {
	if scheme, rest, _ := strings.Cut(rawURL, ":"); scheme == "sqlite" && strings.TrimPrefix(rest, "//") != "" {
		return nil // Open makes the file
	}
	db, err := options{}.connect(rawURL)
	if err != nil {
		return err
	}
	return db.Close()
}
