package etcdreg_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/etcd"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/etcdreg"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

const ttl = 2 * time.Second

// under is what the Registry asks for its options. go-micro's registry has a
// client that cannot be closed; that it reads what is written here is what the
// tests of discovery are about.
type under struct {
	registry.Registry
	opts registry.Options
}

func (u *under) Options() registry.Options { return u.opts }

func open(t *testing.T, opts ...registry.Option) *etcdreg.Registry {
	u := &under{Registry: memreg.New()}
	for _, o := range opts {
		o(&u.opts)
	}
	r := etcdreg.New(u)
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// eye looks at etcd past all registries.
func eye(t *testing.T, c clientv3.Config) *clientv3.Client {
	t.Helper()
	c.Logger = zap.NewNop()
	client, err := clientv3.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func start(t *testing.T) (*backend.Server, *etcdreg.Registry, *clientv3.Client) {
	srv := backend.Etcd(t)
	return srv, open(t, registry.Addrs(srv.Addr)), eye(t, clientv3.Config{Endpoints: []string{srv.Addr}})
}

func shop(zone string) *registry.Service {
	return &registry.Service{Name: "shop", Version: "v1", Nodes: []*registry.Node{
		{Id: "a/1", Address: "127.0.0.1:1", Metadata: map[string]string{"zone": zone}},
	}}
}

func register(t *testing.T, r registry.Registry, s *registry.Service) {
	t.Helper()
	if err := r.Register(s, registry.RegisterTTL(ttl)); err != nil {
		t.Fatal(err)
	}
}

// zone returns that of the node as go-micro's registry would find it, and the
// lease that it hangs on.
func zone(t *testing.T, c *clientv3.Client) (string, clientv3.LeaseID) {
	t.Helper()
	rsp, err := c.Get(t.Context(), "/micro/registry/shop/a-1")
	if err != nil {
		t.Fatal(err)
	}
	if len(rsp.Kvs) == 0 {
		return "", 0
	}
	var s registry.Service
	if err := json.Unmarshal(rsp.Kvs[0].Value, &s); err != nil {
		t.Fatal(err)
	}
	return s.Nodes[0].Metadata["zone"], clientv3.LeaseID(rsp.Kvs[0].Lease)
}

// A node is there while it is registered again and again, whatever changes, and
// not much longer.
func TestLeaseFollowsRegistrations(t *testing.T) {
	_, r, c := start(t)
	register(t, r, shop("north"))
	register(t, r, shop("south"))
	for end := time.Now().Add(2 * ttl); time.Now().Before(end); time.Sleep(ttl / 10) {
		register(t, r, shop("south"))
		if z, _ := zone(t, c); z != "south" {
			t.Fatalf("zone %q", z)
		}
	}
	rpctest.Eventually(t, "a node that nobody registers leaves", func() bool { z, _ := zone(t, c); return z == "" })
	register(t, r, shop("south"))
	if z, _ := zone(t, c); z != "south" {
		t.Errorf("registered again: zone %q", z)
	}
}

func TestTTLChanges(t *testing.T) {
	_, r, c := start(t)
	register(t, r, shop("north"))
	if err := r.Register(shop("north")); err != nil {
		t.Fatal(err)
	}
	if z, lease := zone(t, c); z != "north" || lease != 0 {
		t.Errorf("without a TTL: zone %q, lease %x", z, lease)
	}
	register(t, r, shop("north"))
	if _, lease := zone(t, c); lease == 0 {
		t.Error("with a TTL: no lease")
	}
}

func TestDeregister(t *testing.T) {
	_, r, c := start(t)
	register(t, r, shop("north"))
	for range 2 {
		if err := r.Deregister(shop("north")); err != nil {
			t.Fatal(err)
		}
		if z, _ := zone(t, c); z != "" {
			t.Errorf("zone %q", z)
		}
	}
	if left, err := c.Leases(t.Context()); err != nil || len(left.Leases) != 0 {
		t.Errorf("leases %v, %v", left, err)
	}
	if _, err := c.Put(t.Context(), "/micro/registry/shop/a-1", "of another process"); err != nil {
		t.Fatal(err)
	}
	if err := r.Deregister(shop("")); err != nil {
		t.Fatal(err)
	}
	if z, _ := zone(t, c); z != "" {
		t.Error("what is not of this process stays")
	}
}

func TestDeregisterLeavesWhatAnotherProcessTook(t *testing.T) {
	srv, r, c := start(t)
	register(t, r, shop("north"))
	register(t, open(t, registry.Addrs(srv.Addr)), shop("south"))
	if err := r.Deregister(shop("north")); err != nil {
		t.Fatal(err)
	}
	if z, _ := zone(t, c); z != "south" {
		t.Errorf("zone %q", z)
	}
}

// etcd is away for longer than the TTL. While it is, registering fails and says
// so; as soon as it is back it works, whatever became of the lease.
func TestOutage(t *testing.T) {
	srv, r, c := start(t)
	register(t, r, shop("north"))
	srv.Kill(t)
	for end := time.Now().Add(ttl + time.Second); time.Now().Before(end); time.Sleep(ttl / 10) {
		if err := r.Register(shop("north"), registry.RegisterTTL(ttl)); err == nil {
			t.Fatal("registered at nobody")
		}
	}
	srv.Restart(t)
	back := time.Now()
	rpctest.Eventually(t, "it registers again", func() bool { return r.Register(shop("north"), registry.RegisterTTL(ttl)) == nil })
	t.Logf("registered %v after etcd was back", time.Since(back).Round(time.Millisecond))
	if z, _ := zone(t, c); z != "north" {
		t.Errorf("zone %q", z)
	}
}

// A lease that ended and a node that somebody deleted come back with the next
// registration.
func TestTakenAway(t *testing.T) {
	_, r, c := start(t)
	register(t, r, shop("north"))
	_, lease := zone(t, c)
	for what, take := range map[string]func() error{
		"revoked": func() error { _, err := c.Revoke(t.Context(), lease); return err },
		"deleted": func() error { _, err := c.Delete(t.Context(), "/micro/registry/shop/a-1"); return err },
	} {
		if err := take(); err != nil {
			t.Fatal(err)
		}
		register(t, r, shop("north"))
		if z, lease := zone(t, c); z != "north" || lease == 0 {
			t.Errorf("%s: zone %q, lease %x", what, z, lease)
		}
	}
}

func TestStopAndInit(t *testing.T) {
	_, r, c := start(t)
	register(t, r, shop("north"))
	if err := r.Init(); err != nil {
		t.Fatal(err)
	}
	register(t, r, shop("north"))
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := r.Deregister(shop("north")); err != nil {
		t.Errorf("deregister after Stop: %v", err)
	}
	if z, _ := zone(t, c); z != "" {
		t.Errorf("zone %q", z)
	}
}

func TestPassword(t *testing.T) {
	srv, _, c := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.UserAdd(ctx, "root", "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UserGrantRole(ctx, "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
	if err := open(t, registry.Addrs(srv.Addr)).Register(shop("north"), registry.RegisterTTL(ttl)); err == nil {
		t.Error("registered without a password")
	}
	r := open(t, registry.Addrs(srv.Addr), etcd.Auth("root", "secret"))
	register(t, r, shop("north"))
	register(t, r, shop("south"))
	known := eye(t, clientv3.Config{Endpoints: []string{srv.Addr}, Username: "root", Password: "secret"})
	if z, _ := zone(t, known); z != "south" {
		t.Errorf("zone %q", z)
	}
}

// etcd behind TLS is verified by the authority that the registry was told.
func TestTLS(t *testing.T) {
	srv, _, c := start(t)
	ca := rpctest.NewAuthority(t)
	address := terminate(t, ca.Pair("127.0.0.1", time.Now().Add(time.Hour)), srv.Addr)
	register(t, open(t, registry.Addrs(address), registry.TLSConfig(&tls.Config{RootCAs: ca.Pool()})), shop("north"))
	if z, _ := zone(t, c); z != "north" {
		t.Errorf("zone %q", z)
	}
	for what, o := range map[string]registry.Option{
		"another authority": registry.TLSConfig(&tls.Config{RootCAs: rpctest.NewAuthority(t).Pool()}), "none": registry.Secure(true),
	} {
		if err := open(t, registry.Addrs(address), o, registry.Timeout(time.Second)).Register(shop("south")); err == nil {
			t.Errorf("registered by %s", what)
		}
	}
}

// terminate takes TLS off in front of a server, and returns where.
func terminate(t *testing.T, cert tls.Certificate, to string) string {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	t.Cleanup(func() { _ = l.Close() })
	conns.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				t.Error(err)
				return
			}
			for a, b := range map[net.Conn]net.Conn{in: out, out: in} {
				conns.Go(func() {
					_, _ = io.Copy(a, b)
					_ = a.Close()
				})
			}
		}
	})
	return l.Addr().String()
}

func TestLeased(t *testing.T) {
	for _, r := range []registry.Registry{nil, memreg.New(), open(t)} {
		if got := etcdreg.Leased(r); got != r {
			t.Errorf("%T became %T", r, got)
		}
	}
	idle := etcd.LogConfig(&zap.Config{Encoding: "none"}) // no client is made of it
	if got, ok := etcdreg.Leased(etcd.NewEtcdRegistry(idle)).(*etcdreg.Registry); !ok {
		t.Errorf("go-micro's registry for etcd became %T", got)
	}
}
