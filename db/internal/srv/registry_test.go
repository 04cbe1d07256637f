package srv_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/dbtest"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// announced is a database as others register it.
func announced(name, driver, address string, md map[string]string) *registry.Service {
	if md == nil {
		md = make(map[string]string)
	}
	md["driver"] = driver
	return &registry.Service{Name: db.RegistryPrefix + name, Version: "1", Nodes: []*registry.Node{{Id: name, Address: address, Metadata: md}}}
}

// parts of mysql://user:password@host/name.
func parts(url string) (host, name string) {
	_, rest, _ := strings.Cut(url, "@")
	host, name, _ = strings.Cut(rest, "/")
	return host, name
}

func TestDatabasesAreFoundAtTheRegistry(t *testing.T) {
	net, _ := boot(t, map[string][]string{"credential": {"shop=root:"}})
	d := open(t, net, db.Database("shop"))
	_, err := d.Read("a")
	if !errors.Is(err, db.ErrNotFound) || !strings.Contains(err.Error(), "go.micro.db.shop") {
		t.Fatalf("before it is registered: %v", err)
	}
	host, name := parts(rpctest.MySQLURL(t))
	if err := net.Registry.Register(announced("shop", "mysql", host, map[string]string{"database": name})); err != nil {
		t.Fatal(err)
	}
	dbtest.Eventually(t, "it is found", func() bool {
		return d.Update(db.NewRecord("a", nil, []byte("here")), db.Upsert()) == nil
	})
	// The registry forgets everything: what is open stays open.
	if err := net.Registry.Deregister(announced("shop", "mysql", host, nil)); err != nil {
		t.Fatal(err)
	}
	if r, err := d.Read("a"); err != nil || string(r.Bytes()) != "here" {
		t.Errorf("without the registry: %v", err)
	}
	// It moves: calls go to the new place.
	other, otherName := parts(rpctest.MySQLURL(t))
	if err := net.Registry.Register(announced("shop", "mysql", other, map[string]string{"database": otherName})); err != nil {
		t.Fatal(err)
	}
	dbtest.Eventually(t, "it moved", func() bool {
		_, err := d.Read("a")
		return errors.Is(err, db.ErrNotFound)
	})
}

// What waits where a database moved away from is told all the same.
func TestChangesOfAMovedDatabase(t *testing.T) {
	net, _ := boot(t, map[string][]string{"credential": {"shop=root:"}})
	d := open(t, net, db.Database("shop"), db.Events(true))
	host, name := parts(rpctest.MySQLURL(t))
	must(t, net.Registry.Register(announced("shop", "mysql", host, map[string]string{"database": name})))
	must(t, d.Create(db.NewRecord("waits", nil, nil)))
	must(t, net.Registry.Deregister(announced("shop", "mysql", host, nil)))
	other, otherName := parts(rpctest.MySQLURL(t))
	must(t, net.Registry.Register(announced("shop", "mysql", other, map[string]string{"database": otherName})))
	dbtest.Eventually(t, "it moved", func() bool {
		_, err := d.Read("waits")
		return errors.Is(err, db.ErrNotFound)
	})
	e := &events{}
	e.serve(t, net)
	tells(t, e, "waits")
}

func TestBadRecordsOfTheRegistry(t *testing.T) {
	net, _ := boot(t, nil)
	for name, s := range map[string]*registry.Service{
		"unknown":  announced("unknown", "oracle", "127.0.0.1:1", nil),
		"keyless":  {Name: db.RegistryPrefix + "keyless", Nodes: []*registry.Node{{Id: "x", Address: "127.0.0.1:1"}}},
		"hostile":  announced("hostile", "cassandra", "127.0.0.1:1", map[string]string{"database": "x; DROP KEYSPACE y"}),
		"schema":   announced("schema", "mysql", "127.0.0.1:1", map[string]string{"database": "x/y"}),
		"path":     announced("path", "elasticsearch", "127.0.0.1:1/../_all?x", nil),
		"portless": announced("portless", "mysql", "127.0.0.1", nil),
	} {
		if err := net.Registry.Register(s); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, net, db.Database(name)).Read("a"); err == nil || errors.Is(err, db.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := open(t, net)
	if _, err := d.Read("a"); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("the good one: %v", err)
	}
	blind, _ := boot(t, map[string][]string{"discover": {"false"}})
	if err := blind.Registry.Register(announced("shop", "sqlite", "127.0.0.1:1", nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, blind, db.Database("shop")).Read("a"); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("the registry was asked all the same: %v", err)
	}
}

// A SQLite database is a file of one db-srv; calls that reach another are tried
// again where the client's selector leads, which takes turns here.
func TestFilesOfAnotherService(t *testing.T) {
	net := rpctest.New(t)
	net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"shop=sqlite::memory:"}}))
	net.Boot(dbsrv.With(t, nil, nil))
	d := open(t, net, db.Database("shop"))
	dbtest.Eventually(t, "it is announced", func() bool {
		s, err := net.Registry.GetService("go.micro.db.shop")
		return err == nil && len(s) == 1 && s[0].Nodes[0].Metadata["driver"] == "sqlite"
	})
	for i := range 40 {
		must(t, d.Update(db.NewRecord("a", nil, []byte{byte(i)}), db.Upsert()))
		if r, err := d.Read("a"); err != nil || r.Bytes()[0] != byte(i) {
			t.Fatalf("%v, %v", r, err)
		}
	}
}

func TestPasswordsStayHere(t *testing.T) {
	const secret = "s3cr3t-pass"
	host, name := parts(rpctest.MySQLURL(t))
	out := &rpctest.Buffer{}
	net, _ := boot(t, map[string][]string{
		"database": {
			"given=mysql://nobody:" + secret + "@" + host + "/" + name,
			"dead=elasticsearch://nobody:" + secret + "@127.0.0.1:1/x",
			"gone=cassandra://nobody:" + secret + "@127.0.0.1:1/x",
		},
		"credential": {"found=nobody:" + secret},
	}, func(c *daemon.Config) {
		c.Logger = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if err := net.Registry.Register(announced("found", "mysql", host, map[string]string{"database": name})); err != nil {
		t.Fatal(err)
	}
	for _, database := range []string{"given", "found", "dead", "gone"} {
		_, err := open(t, net, db.Database(database)).Read("a")
		if err == nil {
			t.Fatalf("%s: a wrong password was accepted", database)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the password is in %v", database, err)
		}
	}
	dbtest.Eventually(t, "it is logged and announced", func() bool {
		_, err := net.Registry.GetService("go.micro.db.given")
		return err == nil && strings.Contains(out.String(), "cannot be opened")
	})
	all, err := net.Registry.ListServices()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		for _, n := range s.Nodes {
			for k, v := range n.Metadata {
				if strings.Contains(v, secret) || strings.Contains(v, "nobody") || strings.Contains(v, "/") {
					t.Errorf("%s registers %s=%s", s.Name, k, v)
				}
			}
		}
	}
	if strings.Contains(out.String(), secret) {
		t.Errorf("the password is in the log:\n%s", out)
	}
}
