package srv

import (
	"context"

	"github.com/micro/go-platform/config/internal/conftree"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/sqlstore"
	mpb "github.com/micro/go-platform/monitor/proto"
)

// Migrations are the tables of the store.
var Migrations = migrations

// Store is a store for tests of another package.
type Store struct{ store }

// NewSQLStore returns the store of a database.
func NewSQLStore(db *sqlstore.DB) Store { return Store{&sqlStore{db}} }

// Doc is a doc without its tree.
type Doc struct {
	ID       string
	Revision int64
	There    bool
	Data     string
	Author   string
	Rollout  *pb.RolloutState
}

// Entry is an entry of the log.
type Entry struct {
	Revision                             int64
	ID, Path, Action, Author, Data, Note string
	At                                   int64
	Settled, There                       bool
	Rollout                              *pb.RolloutState
}

// Put writes a doc and its entry, as long as check agrees with what is there.
func (s Store) Put(ctx context.Context, d Doc, e Entry, check func(old *Doc, revision int64) error) (int64, error) {
	return s.Write(ctx, d.ID, func(old *doc, revision int64) (*doc, *entry, error) {
		var was *Doc
		if old != nil {
			was = &Doc{old.id, old.revision, old.there, string(old.data), old.author, old.rollout}
		}
		if err := check(was, revision); err != nil {
			return nil, nil, err
		}
		return &doc{id: d.ID, there: d.There, data: []byte(d.Data), author: d.Author, rollout: d.Rollout},
			&entry{id: d.ID, path: e.Path, action: e.Action, author: e.Author, comment: e.Note, at: e.At, settled: e.Settled, there: e.There, data: []byte(e.Data), rollout: e.Rollout}, nil
	})
}

// InheritFrom is Inherit without a check.
func (s Store) InheritFrom(ctx context.Context, namespace, parent string) (int64, error) {
	return s.Inherit(ctx, namespace, parent, &entry{id: namespace + ":", action: actionInherit}, func(map[string]string) error { return nil })
}

// Docs returns what changed after a revision.
func (s Store) Docs(ctx context.Context, since int64) ([]Doc, error) {
	found, err := s.Changed(ctx, since)
	var all []Doc
	for _, d := range found {
		all = append(all, Doc{d.id, d.revision, d.there, string(d.data), d.author, d.rollout})
	}
	return all, err
}

func exported(e *entry) Entry {
	return Entry{e.revision, e.id, e.path, e.action, e.author, string(e.data), e.comment, e.at, e.settled, e.there, e.rollout}
}

// EntryAt is At.
func (s Store) EntryAt(ctx context.Context, id string, revision int64) (Entry, error) {
	e, err := s.At(ctx, id, revision)
	if err != nil {
		return Entry{}, err
	}
	return exported(e), nil
}

// Entries is Log.
func (s Store) Entries(ctx context.Context, id, author string, from, to, limit, offset int64, reverse bool) ([]Entry, error) {
	found, err := s.Log(ctx, logQuery{id, author, from, to, limit, offset, reverse})
	var all []Entry
	for _, e := range found {
		all = append(all, exported(e))
	}
	return all, err
}

// Chosen reports whether an instance gets a rollout.
func Chosen(r *pb.RolloutState, instance string, labels map[string]string) bool {
	return chosen(r, instance, labels)
}

// Trial measures a rollout.
type Trial struct{ t trial }

// NewTrial returns one that knows nothing.
func NewTrial() *Trial { return &Trial{trial{seen: map[string]uint64{}}} }

// Look counts the windows and returns why to abort.
func (t *Trial) Look(a *pb.Abort, with func(string) bool, windows ...*mpb.Stats) string {
	for _, w := range windows {
		t.t.count(w, with)
	}
	t.t.begun = true
	return t.t.verdict(a)
}

// Hide masks the secrets of a JSON object.
func Hide(data string) string {
	t, err := conftree.Decode("json", []byte(data))
	if err != nil {
		return err.Error()
	}
	return string(conftree.Encode(hide(t)))
}

// Author returns the author of a write.
func Author(ctx context.Context, said string) string { return author(ctx, said) }
