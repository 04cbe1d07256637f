package db_test

import (
	"crypto/tls"
	"testing"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/db"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestHandshakes(t *testing.T) {
	net := rpctest.New(t)
	net.Boot(dbsrv.Service())
	found, err := net.Registry.GetService(db.ServiceName)
	if err != nil {
		t.Fatal(err)
	}
	rpctest.Handshakes(t, found[0].Nodes[0].Address, func(t *testing.T, addr string, c *tls.Config) error {
		secured := rpctest.New(t)
		if err := secured.Registry.Register(&registry.Service{Name: db.ServiceName, Nodes: []*registry.Node{{Id: "one", Address: addr}}}); err != nil {
			t.Fatal(err)
		}
		d := db.NewDB(db.Client(secured.Client(rpctest.RPC)), db.TLS(c), db.Timeout(3*time.Second))
		t.Cleanup(func() { _ = d.Stop() }) // it has nothing to lose
		return db.Put(d, "handshake", []byte("x"))
	})
}
