package srv

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/micro/go-platform/internal/daemon"
)

// Dial connects to a database.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// With returns the service with flags as on the command line, and a way of its
// own to connect to databases.
func With(t testing.TB, dial Dial, flags map[string][]string) daemon.Service {
	t.Helper()
	conf := newSettings()
	conf.dial = dial
	s := service(conf)
	set := map[string]func(string) error{
		"database": (&pairs{add: conf.addDatabase}).set, "credential": (&pairs{add: conf.addCredential}).set,
		"discover": boolean(&conf.discover), "announce": boolean(&conf.announce),
		"create_tables": boolean(&conf.createTables), "events": boolean(&conf.events),
	}
	for name, values := range flags {
		for _, v := range values {
			if err := set[name](v); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

func boolean(to *bool) func(string) error {
	return func(text string) error {
		_, err := fmt.Sscan(text, to)
		return err
	}
}
