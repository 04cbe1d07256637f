package e2e_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// forward makes a server reachable at another address until the test ends.
func forward(t *testing.T, at, to string) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close() // which is what there is to say
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				all.Go(func() {
					_, _ = io.Copy(pair[0], pair[1]) // it ends with either
					_, _ = pair[0].Close(), pair[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
}

// moved returns a URL that leads to another address, and what it led to.
func moved(t *testing.T, from, address string) (to, was string) {
	u, err := url.Parse(from)
	if err != nil {
		t.Fatal(err)
	}
	was, u.Host = u.Host, address
	return u.String(), was
}

func readyz(t *testing.T, admin string) (int, string) {
	rsp, err := http.Get("http://" + admin + "/readyz")
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = rsp.Body.Close() }() // it was read
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.StatusCode, string(body)
}

// A database that is away when a service starts is waited for, by all that have
// one; the wait is told, without the address, and ends when it comes.
func TestDatabaseAwayAtTheStart(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	type on struct {
		keeper
		url string
	}
	mysql, postgres := rpctest.MySQLURL(t), backend.Postgres(t, backend.Shared).URL
	all := []on{{keeper{"event on NATS", withTables()[3].boot}, backend.NATS(t).URL}}
	for _, k := range withTables() {
		all = append(all, on{k, mysql}, on{keeper{k.name + " on PostgreSQL", k.boot}, postgres})
	}
	for _, k := range all {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			away, real := backend.Address(t), k.url
			at, was := moved(t, real, away)
			admin := backend.Address(t)
			n := rpctest.New(t)
			started := make(chan error, 1)
			var running *daemon.Running
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			go func() {
				var err error
				running, err = daemon.Start(ctx, k.boot(), daemon.Config{
					Registry: n.Registry, Broker: n.Broker, Logger: n.Logger, Insecure: true, DatabaseURL: at, DatabaseWait: time.Minute, AdminAddr: admin,
				})
				started <- err
			}()
			var why string
			rpctest.Eventually(t, "it says what it waits for", func() bool {
				var code int
				code, why = readyz(t, admin)
				return code == http.StatusServiceUnavailable && strings.Contains(why, "database")
			})
			if strings.Contains(why, away) || strings.Contains(why, ":"+away[strings.LastIndexByte(away, ':')+1:]) {
				t.Errorf("it tells where its database is: %s", why)
			}
			t.Log(strings.TrimSpace(why))
			forward(t, away, was)
			if err := <-started; err != nil {
				t.Fatal(err)
			}
			rpctest.Eventually(t, "it is ready", func() bool { code, _ := readyz(t, admin); return code == http.StatusOK })
			if err := running.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Without a wait it is an error at once.
func TestDatabaseIsNotWaitedFor(t *testing.T) {
	at, _ := moved(t, "mysql://user:hunter2@x/y", backend.Address(t))
	n := rpctest.New(t)
	_, err := daemon.Start(t.Context(), withTables()[1].boot(), daemon.Config{
		Registry: n.Registry, Broker: n.Broker, Logger: n.Logger, Insecure: true, DatabaseURL: at,
	})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}
