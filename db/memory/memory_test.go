package memory_test

import (
	"errors"
	"testing"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/dbtest"
	"github.com/micro/go-platform/db/memory"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestSuite(t *testing.T) {
	s := memory.NewServer()
	dbtest.Run(t, func(_ testing.TB, opts ...db.Option) db.DB { return s.NewDB(opts...) })
}

func TestServers(t *testing.T) {
	s := memory.NewServer("shop", "logs")
	one, two := s.NewDB(db.Database("shop")), s.NewDB(db.Database("shop"))
	if err := one.Create(db.NewRecord("a", nil, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Read("a"); err != nil {
		t.Errorf("another of the same server: %v", err)
	}
	for name, d := range map[string]db.DB{
		"another database": s.NewDB(db.Database("logs")),
		"another server":   memory.NewDB(db.Database("shop")),
		"the default":      memory.NewDB(),
	} {
		if _, err := d.Read("a"); !errors.Is(err, db.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if err := d.Create(db.NewRecord("a", nil, nil)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := one.String(); got != "memory" {
		t.Error(got)
	}
}

// What callers hold is theirs.
func TestNothingIsShared(t *testing.T) {
	d := memory.NewDB()
	data := []byte("mine")
	if err := d.Create(db.NewRecord("a", db.Metadata{"k": 1}, data)); err != nil {
		t.Fatal(err)
	}
	data[0] = 'x'
	for range 2 {
		r, err := d.Read("a")
		if err != nil || string(r.Bytes()) != "mine" || r.Metadata()["k"] != int64(1) {
			t.Fatalf("%v, %v", r, err)
		}
		r.Bytes()[0], r.Metadata()["k"] = 'y', 2
		found, err := d.Search(db.Metadata{"k": 1}, 0, 0)
		if err != nil || len(found) != 1 || string(found[0].Bytes()) != "mine" {
			t.Fatalf("%v, %v", found, err)
		}
		found[0].Bytes()[0] = 'z'
	}
}

func BenchmarkRead(b *testing.B) {
	d := memory.NewDB()
	if err := d.Create(db.NewRecord("a", db.Metadata{"k": 1}, make([]byte, 200))); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Read("a"); err != nil {
			b.Fatal(err)
		}
	}
}
