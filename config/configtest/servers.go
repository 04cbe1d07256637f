package configtest

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/internal/netcut"
)

// RunServers tests a source that takes several servers. The server at alive works
// and has values; the others are dead, hang, or are something else.
func RunServers(t *testing.T, alive string, n func(t testing.TB, hosts ...string) config.Source) {
	dead := deadAddress(t)
	servers := map[string][]string{
		"FirstDead": {dead, alive}, "LastDead": {alive, dead}, "FirstHangs": {hangingAddress(t), alive}, "LastHangs": {alive, hangingAddress(t)},
	}
	for lie, answer := range netcut.Lies() {
		liar := netcut.Liar(t, answer)
		servers["FirstLies"+lie], servers["LastLies"+lie] = []string{liar, alive}, []string{alive, liar}
	}
	for name, hosts := range servers {
		t.Run(name, func(t *testing.T) {
			c := started(t, func(_ testing.TB, opts ...config.Option) config.Config { return config.NewConfig(opts...) },
				config.WithSource(n(t, hosts...)), config.PollInterval(time.Hour), config.StartTimeout(30*time.Second))
			eventually(t, "changes are told of", func() bool {
				s := c.Status()[0]
				return s.Loaded && s.Err == nil && s.WatchErr == nil
			})
		})
	}
}

// deadAddress returns an address at which nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// hangingAddress returns an address that accepts connections and answers nothing.
func hangingAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all []net.Conn
	var taking sync.WaitGroup
	taking.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			all = append(all, c)
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // a second Close is at fault, and there is none
		taking.Wait()
		for _, c := range all {
			_ = c.Close() // the other side may have
		}
	})
	return l.Addr().String()
}
