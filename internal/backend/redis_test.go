package backend_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/micro/go-platform/internal/backend"
)

func newRedis(t *testing.T, s *backend.Server) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func wantKey(t *testing.T, client *redis.Client, key, want string) {
	t.Helper()
	if got, err := client.Get(t.Context(), key).Result(); err != nil || got != want {
		t.Fatalf("Get(%q) = %q, %v; want %q", key, got, err, want)
	}
}

func TestRedis(t *testing.T) {
	client := newRedis(t, backend.Redis(t))
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	wantKey(t, client, "k", "v")
}

func TestKillAndRestartKeepPortAndData(t *testing.T) {
	s := backend.Redis(t)
	client := newRedis(t, s)
	if err := client.Set(t.Context(), "k", "before", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Fatal("a killed server answered")
	}
	s.Restart(t)
	wantKey(t, client, "k", "before")
	s.Restart(t)
	wantKey(t, client, "k", "before")
}

func TestArgsReachTheServer(t *testing.T) {
	client := newRedis(t, backend.Redis(t, backend.Args("--databases", "3")))
	got, err := client.ConfigGet(t.Context(), "databases").Result()
	if err != nil || got["databases"] != "3" {
		t.Fatalf("databases = %v, %v; want 3", got, err)
	}
}

func TestSharedIsOneServer(t *testing.T) {
	a, b := backend.Redis(t, backend.Shared), backend.Redis(t, backend.Shared)
	if a.Addr != b.Addr {
		t.Errorf("two shared servers: %s and %s", a.Addr, b.Addr)
	}
	if c := backend.Redis(t); c.Addr == a.Addr {
		t.Errorf("a server of one's own is the shared one, %s", c.Addr)
	}
}
