// Package backend gives tests the real servers that the plugins talk to.
//
// A test asks for a server and gets its address:
//
//	func TestKV(t *testing.T) {
//		s := backend.Redis(t)
//		client := redis.NewClient(&redis.Options{Addr: s.Addr})
//		...
//	}
//
// The server comes from the first of these that there is:
//
//  1. The environment: GO_PLATFORM_REDIS, GO_PLATFORM_MEMCACHED, GO_PLATFORM_ETCD, GO_PLATFORM_CONSUL,
//     GO_PLATFORM_NATS, GO_PLATFORM_KAFKA, GO_PLATFORM_ZIPKIN, GO_PLATFORM_CASSANDRA, GO_PLATFORM_OPENSEARCH and
//     GO_PLATFORM_ELASTICSEARCH hold "host:port"; GO_PLATFORM_POSTGRES holds a URL; GO_PLATFORM_MYSQL a DSN of go-sql-driver/mysql that may
//     create databases; GO_PLATFORM_CHROMIUM holds the path of the browser. A test that asks for a server of a
//     special sort (Args, FromKafka) passes this by.
//  2. A program on PATH, in the directories for system programs or in the cache that "make backends" fills
//     (GO_PLATFORM_CACHE, else XDG_CACHE_HOME/go-platform, else ~/.cache/go-platform). It is started on free
//     loopback ports in a directory of its own, and stopped when the test ends.
//  3. Nothing: the test is skipped with a hint that "make test" repeats at its end, or fails if
//     REQUIRE_BACKENDS=1.
//
// A server started here belongs to the test, which may [Server.Kill] and [Server.Restart] it. Servers on the
// JVM take many seconds to start; tests that only use one pass [Shared], and all tests of the package then get
// the same server. Their TestMain stops it:
//
//	func TestMain(m *testing.M) { leak.Main(backend.StopAfter(m)) }
//
// On Linux no server outlives the test binary, however that ends.
package backend
