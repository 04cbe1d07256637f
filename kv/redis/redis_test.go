package redis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/kvtest"
	"github.com/micro/go-platform/kv/redis"
)

func TestMain(m *testing.M) { rpctest.Main(backend.StopAfter(m)) }

func at(addrs ...string) kvtest.New { return with(nil, addrs...) }

func with(more []kv.Option, addrs ...string) kvtest.New {
	return func(_ testing.TB, opts ...kv.Option) kv.KV {
		return redis.NewKV(slices.Concat([]kv.Option{kv.Servers(addrs)}, more, opts)...)
	}
}

func TestSuite(t *testing.T) {
	n := at(backend.Redis(t, backend.Shared).Addr)
	kvtest.Run(t, n)
	kvtest.RunAll(t, n)
	t.Run("Unfenced", func(t *testing.T) { kvtest.RunUnfenced(t, n) })
}

func TestHandshakes(t *testing.T) {
	rpctest.Handshakes(t, backend.Redis(t, backend.Shared).Addr, func(t *testing.T, addr string, c *tls.Config) error {
		return kvtest.Call(at(addr).Start(t, kv.TLS(c), kv.Timeout(2*time.Second)))
	})
}

// A user of the server's ACL, and the password of all.
func TestUser(t *testing.T) {
	addr := backend.Redis(t).Addr
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	defer func() { _ = c.Close() }()
	if err := c.Do(t.Context(), "acl", "setuser", "shop", "on", ">secret", "~micro:*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.ConfigSet(t.Context(), "requirepass", "of all").Err(); err != nil {
		t.Fatal(err)
	}
	kvtest.RunUsers(t, at(addr), kvtest.Users{
		Right: []kv.Option{redis.User("shop", "secret"), redis.User("", "of all")},
		Wrong: []kv.Option{redis.User("shop", "wrong"), redis.User("nobody", "secret")},
	})
}

// The database of a number has keys of its own.
func TestDB(t *testing.T) {
	n, key := at(backend.Redis(t, backend.Shared).Addr), kvtest.Fresh()
	if err := n.Start(t, redis.DB(3)).Put(&kv.Item{Key: key}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Start(t).Get(key); !errors.Is(err, kv.ErrNotFound) {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	server := backend.Redis(t)
	kvtest.RunFaults(t, kvtest.Remote{
		New: at(server.Addr), Addr: server.Addr, At: func(addr string) kvtest.New { return at(addr) },
		Kill: server.Kill, Restart: server.Restart, Keeps: true,
	})
}

// A cluster of three, each with a third of the slots.
func TestCluster(t *testing.T) {
	var addrs []string
	var nodes []*goredis.Client
	for range 3 {
		addr := backend.Redis(t, backend.Args("--cluster-enabled", "yes")).Addr
		c := goredis.NewClient(&goredis.Options{Addr: addr})
		t.Cleanup(func() { _ = c.Close() })
		addrs, nodes = append(addrs, addr), append(nodes, c)
	}
	for i, c := range nodes {
		if err := c.ClusterAddSlotsRange(t.Context(), i*5462, min((i+1)*5462, 16384)-1).Err(); err != nil {
			t.Fatal(err)
		}
		host, port, _ := strings.Cut(addrs[i], ":")
		if err := nodes[0].ClusterMeet(t.Context(), host, port).Err(); err != nil {
			t.Fatal(err)
		}
	}
	kvtest.Eventually(t, 30*time.Second, "the cluster is whole", func() bool {
		for _, c := range nodes {
			if info, err := c.ClusterInfo(t.Context()).Result(); err != nil || !strings.Contains(info, "cluster_state:ok") {
				return false
			}
		}
		return true
	})
	n := at(addrs...)
	kvtest.Run(t, n)
	kvtest.RunAll(t, n)
	t.Run("Servers", func(t *testing.T) { kvtest.RunServers(t, at, addrs[0]) })
	for i, c := range nodes {
		if keys, err := c.DBSize(context.Background()).Result(); err != nil || keys == 0 {
			t.Errorf("server %d has %d keys, %v", i, keys, err)
		}
	}
}

// A cluster's client that follows MOVED and ASK does not repeat what was done.
func TestClusterMoves(t *testing.T) {
	var nodes [2]*goredis.Client
	var ids [2]string
	var addrs [2]string
	for i := range nodes {
		addrs[i] = backend.Redis(t, backend.Args("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")).Addr
		nodes[i] = goredis.NewClient(&goredis.Options{Addr: addrs[i]})
		t.Cleanup(func() { _ = nodes[i].Close() })
		ids[i] = nodes[i].Do(t.Context(), "cluster", "myid").Val().(string)
	}
	do := func(i int, args ...any) {
		t.Helper()
		if err := nodes[i].Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(args, err)
		}
	}
	host, port, _ := strings.Cut(addrs[1], ":")
	do(0, "cluster", "addslotsrange", 0, 16383)
	do(0, "cluster", "meet", host, port)
	kvtest.Eventually(t, 30*time.Second, "they know each other", func() bool {
		info := nodes[1].ClusterInfo(t.Context()).Val()
		return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:2")
	})
	k, key := with([]kv.Option{redis.Cluster()}, addrs[0]).Start(t), kvtest.Fresh()
	slot := nodes[0].ClusterKeySlot(t.Context(), "micro:"+key).Val()
	write := func(want int64) {
		t.Helper()
		if sum, err := k.(kv.Counter).Incr(key, 1); err != nil || sum != want {
			t.Fatalf("%d, %v, want %d", sum, err, want)
		}
		if err := k.(kv.Toucher).Touch(key, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	do(1, "cluster", "setslot", slot, "importing", ids[0])
	do(0, "cluster", "setslot", slot, "migrating", ids[1])
	do(0, "migrate", host, port, "micro:"+key, 0, 5000)
	write(2) // asks
	for _, i := range []int{1, 0} {
		do(i, "cluster", "setslot", slot, "node", ids[1])
	}
	write(3) // has moved
}

// One node has all slots and says that it is to be reached by the link.
func TestClusterLink(t *testing.T) {
	addr := backend.Redis(t, backend.Args("--cluster-enabled", "yes")).Addr
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	defer func() { _ = c.Close() }()
	if err := c.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	kvtest.Eventually(t, 30*time.Second, "the cluster is whole", func() bool {
		return strings.Contains(c.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
	})
	by := func(link string) kvtest.New {
		_, port, _ := strings.Cut(link, ":")
		if err := c.ConfigSet(t.Context(), "cluster-announce-port", port).Err(); err != nil {
			t.Fatal(err)
		}
		return with([]kv.Option{redis.Cluster()}, link)
	}
	kvtest.RunLink(t, kvtest.Remote{New: at(addr), Addr: addr, At: by})
}

// startSentinel returns the address of one that needs nobody's agreement.
func startSentinel(t *testing.T, host, port string) string {
	addr := backend.Address(t)
	_, own, _ := strings.Cut(addr, ":")
	conf := filepath.Join(t.TempDir(), "sentinel.conf") // it writes to it
	text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\nsentinel monitor shop %s %s 1\nsentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 5000\n",
		own, filepath.Dir(conf), host, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", conf, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be dead already
		_ = cmd.Wait()         // it says that it was killed
	})
	return addr
}

// The master dies, the sentinels make the replica the master.
func TestSentinel(t *testing.T) {
	master, replica := backend.Redis(t), backend.Redis(t)
	r := goredis.NewClient(&goredis.Options{Addr: replica.Addr})
	defer func() { _ = r.Close() }()
	host, port, _ := strings.Cut(master.Addr, ":")
	if err := r.ReplicaOf(t.Context(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	by := func(addrs ...string) kvtest.New { return with([]kv.Option{redis.Master("shop")}, addrs...) }
	sentinel := startSentinel(t, host, port)
	t.Run("Servers", func(t *testing.T) { kvtest.RunServers(t, by, sentinel) })
	k := by(sentinel).Start(t, kv.Timeout(2*time.Second))
	key := kvtest.Fresh()
	if err := k.Put(&kv.Item{Key: key, Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	kvtest.Eventually(t, 20*time.Second, "the replica has it", func() bool {
		return r.Exists(t.Context(), "micro:"+key).Val() == 1
	})
	master.Kill(t)
	kvtest.Eventually(t, 60*time.Second, "fail-over", func() bool {
		return k.Put(&kv.Item{Key: key + "2", Value: []byte("after")}) == nil
	})
	if item, err := k.Get(key); err != nil || string(item.Value) != "v" {
		t.Errorf("%v, %v", fmt.Sprint(item), err)
	}
}

// What go-redis would leave out in silence is refused.
func TestBadOptions(t *testing.T) {
	for name, c := range map[string]struct {
		opts []kv.Option
		want string // empty for none
	}{
		"one server":          {[]kv.Option{redis.DB(1)}, ""},
		"sentinels":           {[]kv.Option{kv.Servers([]string{"127.0.0.1:1", "127.0.0.1:2"}), redis.Master("m"), redis.DB(1)}, ""},
		"cluster":             {[]kv.Option{redis.Cluster(), redis.DB(1)}, "kv: option DB: 1: a cluster has only database 0"},
		"several servers":     {[]kv.Option{kv.Servers([]string{"127.0.0.1:1", "127.0.0.1:2"}), redis.DB(2)}, "kv: option DB: 2: a cluster has only database 0"},
		"negative":            {[]kv.Option{redis.DB(-1)}, "kv: option DB: -1 is less than 0"},
		"cluster of sentinel": {[]kv.Option{redis.Cluster(), redis.Master("m")}, `kv: option Cluster: Servers are sentinels of the master "m"`},
	} {
		k := redis.NewKV(c.opts...)
		for range 2 {
			err := k.Start()
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, kv.ErrInvalid) || err.Error() != c.want) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
		}
		if err := k.Stop(); err != nil {
			t.Error(err)
		}
	}
}
