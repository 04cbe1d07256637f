// Package srv boots go.micro.srv.auth for the programs of this repository.
// Nothing here is promised to others: they run auth-srv.
package srv

import (
	"io"

	"github.com/micro/go-platform/auth/internal/srv"
	"github.com/micro/go-platform/internal/daemon"
)

// Where a first start leaves the secret of the account that may do everything.
const (
	AdminID   = srv.AdminID
	AdminFile = srv.AdminFile // in the data directory
)

// Config is what programs that boot auth-srv in their own process decide. The
// zero value is the default: an issuer made from the address, a secret of
// auth-srv's own making, announced nowhere.
type Config struct {
	Issuer      string    // iss of the tokens
	AdminSecret string    // of the account AdminID; made at the first start when empty
	Announce    io.Writer // where a first start prints the secret that it made
}

type bootable = daemon.Bootable

// Service is auth-srv before it is started.
type Service struct{ bootable }

// New returns auth-srv without its HTTP face.
func New(c Config) Service {
	return Service{srv.New(srv.Config{Issuer: c.Issuer, AdminSecret: c.AdminSecret, Announce: c.Announce})}
}

// Main runs auth-srv until SIGINT or SIGTERM and returns the exit code: 0 after a
// clean stop, 1 after an error, 2 for wrong usage.
func Main() int { return daemon.Main(srv.Service()) }
