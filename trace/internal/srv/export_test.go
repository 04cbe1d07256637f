package srv

import (
	"context"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/sqlstore"
	pb "github.com/micro/go-platform/trace/proto"
)

// Tree is tree.
func Tree(spans []*pb.Span) []*pb.TreeResponse_Node { return tree(spans) }

// NewRecord validates a span.
func NewRecord(s *pb.Span) error {
	_, err := newRecord(s, 1)
	return err
}

// Store is a store on a database of its own.
type Store struct{ st store }

// OpenStore opens the database at the URL, empty.
func OpenStore(t *testing.T, url string) Store {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), url, sqlstore.Schema{Service: "trace", Migrations: migrations})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // the test is over
	if _, err := db.Exec(`DELETE FROM spans`); err != nil {
		t.Fatal(err)
	}
	return Store{newSQLStore(db)}
}

// Insert inserts valid spans as received at a time.
func (s Store) Insert(t *testing.T, received time.Time, spans ...*pb.Span) {
	t.Helper()
	var all []*record
	for _, span := range spans {
		r, err := newRecord(span, received.UnixMicro())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if err := s.st.Insert(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

// Read is Read.
func (s Store) Read(ctx context.Context, id string, limit int) ([]*pb.Span, bool, error) {
	return s.st.Read(ctx, id, limit)
}

// Delete is Delete.
func (s Store) Delete(ctx context.Context, id string) error { return s.st.Delete(ctx, id) }

// Search is Search.
func (s Store) Search(ctx context.Context, r *pb.SearchRequest) ([]*pb.Span, bool, error) {
	return s.st.Search(ctx, query{r.Name, r.Service, r.MinDuration, r.MaxDuration, r.From, r.To, r.Error, r.Tags, r.Limit, r.Offset, r.Reverse})
}

// Dependencies is Dependencies.
func (s Store) Dependencies(ctx context.Context, from, to int64) ([]*pb.Dependency, error) {
	return s.st.Dependencies(ctx, from, to)
}

// Expire is Expire.
func (s Store) Expire(ctx context.Context, before time.Time, most int64) (int64, error) {
	return s.st.Expire(ctx, before.UnixMicro(), most)
}
