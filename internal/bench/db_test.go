package bench_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite"

	"github.com/micro/go-platform/db"
	dbsrv "github.com/micro/go-platform/db/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	echo "github.com/micro/go-platform/internal/rpctest/proto"
)

// BenchmarkDB takes turns between a call to db-srv, the statements that it comes
// down to run directly by database/sql on the same database, and an RPC of the
// same size that does nothing. What the call costs more than the statements is
// the RPC and db-srv's own work.
func BenchmarkDB(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		file := filepath.Join(b.TempDir(), "bench.db")
		direct, err := sql.Open("sqlite", "file:"+file+"?"+url.Values{"_txlock": {"immediate"}, "_pragma": {
			"journal_mode(wal)", "synchronous(full)", "busy_timeout(5000)"}}.Encode())
		benchDB(b, "sqlite://"+file, direct, err)
	})
	b.Run("mysql", func(b *testing.B) {
		dsn := backend.MySQL(b).DSN
		c, err := mysql.ParseDSN(dsn)
		if err != nil {
			b.Fatal(err)
		}
		direct, err := sql.Open("mysql", dsn)
		benchDB(b, "mysql://"+c.User+":"+c.Passwd+"@"+c.Addr+"/"+c.DBName, direct, err)
	})
}

const (
	benchRecords = 1000
	benchFound   = 20
)

func benchDB(b *testing.B, databaseURL string, direct *sql.DB, err error) {
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = direct.Close() }()
	net := rpctest.New(b)
	net.Boot(dbsrv.New(), func(c *daemon.Config) { c.DatabaseURL = databaseURL })
	net.Serve(rpctest.GRPC, "echo")
	d := db.NewDB(db.Client(net.Client(rpctest.GRPC)), db.Table("bench"))
	defer func() { _ = d.Stop() }()
	data := []byte(strings.Repeat("x", 200))
	for i := range benchRecords {
		if err := d.Create(db.NewRecord(fmt.Sprintf("%06d", i), db.Metadata{"group": i / benchFound}, data)); err != nil {
			b.Fatal(err)
		}
	}
	rpcs := echo.NewEchoService("echo", net.Client(rpctest.GRPC))
	s := &statements{b: b, db: direct, data: data}
	s.prepare()

	ctx, n := context.Background(), 0
	for _, c := range []struct {
		name   string
		size   int // of the message
		call   func() error
		direct func() error
	}{
		{"read", 400, func() error { _, err := d.Read(fmt.Sprintf("%06d", n%benchRecords)); return err }, s.readOne},
		{"create", 400, func() error {
			return d.Create(db.NewRecord(fmt.Sprintf("%d/%d", time.Now().UnixNano(), n), db.Metadata{"group": -1}, data))
		}, s.createOne},
		{"search", 400 * benchFound, func() error {
			found, err := d.Search(db.Metadata{"group": n % (benchRecords / benchFound)}, benchFound, 0)
			if err == nil && len(found) != benchFound {
				err = fmt.Errorf("%d found", len(found))
			}
			return err
		}, s.findSome},
	} {
		b.Run(c.name, func(b *testing.B) {
			req := &echo.Request{Text: strings.Repeat("x", c.size)}
			works := []func() error{c.call, c.direct, func() error { _, err := rpcs.Call(ctx, req); return err }}
			took := make([][]time.Duration, len(works))
			for b.Loop() {
				n++
				for i, work := range works {
					begin := time.Now()
					if err := work(); err != nil {
						b.Fatal(err)
					}
					took[i] = append(took[i], time.Since(begin))
				}
			}
			median := func(i int) float64 {
				slices.Sort(took[i])
				return float64(took[i][len(took[i])/2].Nanoseconds()) / 1000
			}
			total, statement, rpc := median(0), median(1), median(2)
			b.ReportMetric(total, "µs-db")
			b.ReportMetric(statement, "µs-sql")
			b.ReportMetric(rpc, "µs-rpc")
			b.ReportMetric(total-statement-rpc, "µs-own")
			b.ReportMetric(total/(statement+rpc), "db/(sql+rpc)")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// statements are what db-srv runs, prepared.
type statements struct {
	b                        *testing.B
	db                       *sql.DB
	data                     []byte
	read, insert, term, find *sql.Stmt
	n                        int
	group                    string
}

func (s *statements) prepare() {
	for to, text := range map[**sql.Stmt]string{
		&s.read:   `SELECT created, updated, etag, metadata, data FROM r_bench WHERE id = ?`,
		&s.insert: `INSERT INTO r_bench (id, created, updated, etag, metadata, data) VALUES (?, ?, ?, ?, ?, ?)`,
		&s.term:   `INSERT INTO t_bench (id, k, v) VALUES (?, ?, ?)`,
		&s.find: `SELECT r.id, r.created, r.updated, r.etag, r.metadata, r.data FROM r_bench r
			JOIN t_bench c ON c.id = r.id AND c.k = ? AND c.v = ? ORDER BY r.id LIMIT ?`,
	} {
		stmt, err := s.db.Prepare(text)
		if err != nil {
			s.b.Fatal(err)
		}
		*to = stmt
	}
	if err := s.db.QueryRow(`SELECT v FROM t_bench WHERE id = '000000'`).Scan(&s.group); err != nil {
		s.b.Fatal(err)
	}
}

func (s *statements) readOne() error {
	s.n++
	var created, updated int64
	var etag string
	var metadata, data []byte
	return s.read.QueryRow(fmt.Sprintf("%06d", s.n%benchRecords)).Scan(&created, &updated, &etag, &metadata, &data)
}

func (s *statements) createOne() error {
	id := fmt.Sprintf("direct/%d", time.Now().UnixNano())
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	if _, err := tx.Stmt(s.insert).Exec(id, 1, 1, "etag", []byte("metadata"), s.data); err != nil {
		return err
	}
	if _, err := tx.Stmt(s.term).Exec(id, "group", "direct"); err != nil {
		return err
	}
	return tx.Commit()
}

func (s *statements) findSome() error {
	rows, err := s.find.Query("group", s.group, benchFound)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for rows.Next() {
		var id, etag string
		var created, updated int64
		var metadata, data []byte
		if err := rows.Scan(&id, &created, &updated, &etag, &metadata, &data); err != nil {
			return err
		}
		n++
	}
	if n != benchFound {
		return fmt.Errorf("%d found", n)
	}
	return rows.Err()
}
