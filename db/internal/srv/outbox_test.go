package srv_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/dbtest"
	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/internal/sqlstore"
)

func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite://"+filepath.Join(t.TempDir(), "shop.db")) })
	t.Run("mysql", func(t *testing.T) { test(t, rpctest.MySQLURL(t)) })
}

// exec runs statements on a database behind db-srv's back.
func exec(t *testing.T, url string, statements ...string) {
	t.Helper()
	d, err := sqlstore.Open(t.Context(), url, sqlstore.Schema{})
	must(t, err)
	defer func() { must(t, d.Close()) }()
	for _, text := range statements {
		if d.Dialect == sqlstore.MySQL {
			text = strings.ReplaceAll(text, "AUTOINCREMENT", "AUTO_INCREMENT")
		}
		if _, err := d.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

// theirs is a database that others use, goose and a table "outbox" included.
func theirs(t *testing.T, url string) {
	exec(t, url,
		`CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id BIGINT NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP)`,
		`INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1), (2, 1)`,
		`CREATE TABLE outbox (id INTEGER PRIMARY KEY, mail TEXT)`,
		`INSERT INTO outbox (id, mail) VALUES (1, 'dear customer')`,
	)
}

func tellsOf(e *events, t *testing.T) (ids []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.records {
		c, err := db.ParseChange(r.Data)
		must(t, err)
		ids = append(ids, c.Id)
	}
	return ids
}

func tells(t *testing.T, e *events, want ...string) {
	t.Helper()
	dbtest.Eventually(t, strings.Join(want, ", ")+" are told", func() bool { return len(tellsOf(e, t)) >= len(want) })
	if got := tellsOf(e, t); !slices.Equal(got, want) {
		t.Errorf("%v are told, want %v", got, want)
	}
	// event-srv drops what it knows: the relay has no reason to send it.
	if e.mu.Lock(); e.duplicates != 0 {
		t.Errorf("%d changes were sent again", e.duplicates)
	}
	e.mu.Unlock()
}

func TestDatabaseThatOthersUse(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		theirs(t, url)
		net, e := rpctest.New(t), &events{}
		e.serve(t, net)
		net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"shop=" + url}}))
		d := open(t, net, db.Database("shop"), db.Events(true))
		must(t, d.Create(db.NewRecord("a", nil, nil)))
		must(t, d.Update(db.NewRecord("a", nil, nil)))
		tells(t, e, "a", "a")
		exec(t, url, `INSERT INTO outbox (id, mail) SELECT id + 1, mail FROM outbox WHERE id = 1`)
	})
}

// withTable makes the default table, with the record "there".
func withTable(t *testing.T, url string) {
	t.Helper()
	net := rpctest.New(t)
	running := net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"shop=" + url}}))
	must(t, open(t, net, db.Database("shop")).Create(db.NewRecord("there", db.Metadata{"k": 1}, nil)))
	must(t, running.Stop())
}

// A table that belongs to the records and is missing is a fault, which says
// which; only where there is none of records there are none.
func TestMissingTables(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		withTable(t, url)
		exec(t, url, `DROP TABLE f_micro`, `DROP TABLE micro_db_outbox`)
		net := rpctest.New(t)
		net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"shop=" + url}, "create_tables": {"false"}}))
		d := open(t, net, db.Database("shop"), db.Events(true))
		for name, err := range map[string]error{
			"micro_db_outbox": d.Create(db.NewRecord("a", nil, nil)),
			"outbox":          d.Update(db.NewRecord("there", nil, nil)),
			"f_micro":         d.Delete("there", db.Fence(1)),
		} {
			if err == nil || errors.Is(err, db.ErrNotFound) || !strings.Contains(err.Error(), name) {
				t.Errorf("without %s: %v", name, err)
			}
		}
		elsewhere := db.InTable("elsewhere")
		if err := d.Create(db.NewRecord("a", nil, nil), elsewhere); !errors.Is(err, db.ErrNotFound) {
			t.Errorf("create: %v", err)
		}
		if found, err := d.Search(db.Metadata{"k": 1}, 0, 0, elsewhere); err != nil || len(found) != 0 {
			t.Errorf("search: %v, %v", found, err)
		}
		exec(t, url, `DROP TABLE t_micro`)
		if _, err := d.Search(db.Metadata{"k": 1}, 0, 0); err == nil || !strings.Contains(err.Error(), "t_micro") {
			t.Errorf("search without t_micro: %v", err)
		}
	})
}

// Where db-srv creates the outbox, an outbox that is gone does not count as empty.
func TestOutboxThatIsGone(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		withTable(t, url)
		exec(t, url, `DROP TABLE micro_db_outbox`)
		net, out := rpctest.New(t), &rpctest.Buffer{}
		net.Boot(dbsrv.With(t, nil, map[string][]string{"database": {"shop=" + url}}), func(c *daemon.Config) {
			c.Logger = slog.New(slog.NewTextHandler(out, nil))
		})
		dbtest.Eventually(t, "it is logged", func() bool {
			return strings.Contains(out.String(), "changes wait in the outbox") && strings.Contains(out.String(), "micro_db_outbox")
		})
	})
}
