//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

// etcdYard starts processes of discovery on top of etcd, without discovery-srv.
type etcdYard struct {
	*yard
	srv *backend.Server
	eye *clientv3.Client // looks at etcd past the plugins
}

func openEtcdYard(t *testing.T) *etcdYard {
	srv := backend.Etcd(t)
	eye, err := clientv3.New(clientv3.Config{Endpoints: []string{srv.Addr}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eye.Close() })
	return &etcdYard{&yard{t, buildDiscovery(t)}, srv, eye}
}

func (y *etcdYard) node(id string, stdin *io.Closer) *rpctest.Program {
	y.t.Helper()
	p := &rpctest.Program{TB: y.t, Path: filepath.Join(y.dir, "discoverynode"), Piped: stdin, Args: []string{
		"-etcd", y.srv.Addr, "-prefix", id, "-interval", beat().String(), fmt.Sprintf("-drain=%t", stdin != nil),
	}}
	y.t.Cleanup(p.Kill)
	p.Start()
	return p
}

// nodes returns the ids that etcd has, those that drain with a "-" behind.
func (y *etcdYard) nodes() []string {
	ctx, cancel := context.WithTimeout(y.t.Context(), 5*time.Second)
	defer cancel()
	rsp, err := y.eye.Get(ctx, "/micro/registry/shop/", clientv3.WithPrefix())
	if err != nil {
		return []string{err.Error()}
	}
	var ids []string
	for _, kv := range rsp.Kvs {
		var s registry.Service
		if err := json.Unmarshal(kv.Value, &s); err != nil {
			y.t.Errorf("%s: %v", kv.Key, err)
		}
		id := path.Base(string(kv.Key))
		for _, n := range s.Nodes {
			if n.Metadata[discovery.StatusKey] == discovery.StatusDraining {
				id += "-"
			}
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// within waits for the nodes, which may take that long.
func (y *etcdYard) within(bound time.Duration, what string, want ...string) {
	y.t.Helper()
	begun := time.Now()
	rpctest.Eventually(y.t, what, func() bool { return slices.Equal(y.nodes(), want) })
	took := time.Since(begun)
	y.t.Logf("%s: after %.1f intervals", what, took.Seconds()/beat().Seconds())
	if took > bound {
		y.t.Errorf("%s: after %v, want %v", what, took, bound)
	}
}

// hold looks for longer than a lease that the nodes stay.
func (y *etcdYard) hold(want ...string) {
	y.t.Helper()
	for end := time.Now().Add(discovery.TTLIntervals*beat() + 2*time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got := y.nodes(); !slices.Equal(got, want) {
			y.t.Fatalf("nodes %v, want %v", got, want)
		}
	}
}

// Nodes whose process dies or hangs leave etcd; those that drain, and those that
// live through an outage of etcd, stay. Nobody fills a log.
func TestFaultDiscoveryOnEtcd(t *testing.T) {
	const ttl = discovery.TTLIntervals
	y := openEtcdYard(t)
	var stdin io.Closer
	steady, dead, hung, draining := y.node("steady", nil), y.node("dead", nil), y.node("hung", nil), y.node("draining", &stdin)
	rpctest.Eventually(t, "all are registered", func() bool { return len(y.nodes()) == 4 })

	slack := 2*beat() + 3*time.Second // until etcd has looked for leases that ended, and of the machine
	dead.Kill()
	y.within(ttl*beat()+slack, "a killed process leaves", "draining0", "hung0", "steady0")
	if err := hung.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	y.within(ttl*beat()+slack, "a process that hangs leaves", "draining0", "steady0")
	if err := hung.Cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	y.within(2*beat()+slack, "and is back when it goes on", "draining0", "hung0", "steady0")

	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	y.within(slack, "a process drains", "draining0-", "hung0", "steady0")
	y.hold("draining0-", "hung0", "steady0")

	y.srv.Kill(t)
	<-time.After(ttl*beat() + 2*time.Second)
	y.srv.Restart(t)
	y.loseLeases()
	y.within(2*beat()+slack, "all are back after an outage", "draining0-", "hung0", "steady0")
	y.hold("draining0-", "hung0", "steady0")

	for id, p := range map[string]*rpctest.Program{"steady": steady, "hung": hung, "draining": draining} {
		if lines := strings.Count(p.Run.Output.String(), "\n"); lines > 10 {
			t.Errorf("%s wrote %d lines:\n%s", id, lines, &p.Run.Output)
		}
	}
}

// loseLeases takes all leases away, as an outage does that etcd did not sleep
// through.
func (y *etcdYard) loseLeases() {
	y.t.Helper()
	rsp, err := y.eye.Leases(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	for _, l := range rsp.Leases {
		if _, err := y.eye.Revoke(y.t.Context(), l.ID); err != nil {
			y.t.Fatal(err)
		}
	}
}
