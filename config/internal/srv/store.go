package srv

import (
	"context"

	pb "github.com/micro/go-platform/config/proto"
)

// What an entry of the log says was done.
const (
	actionCreate   = "create"
	actionUpdate   = "update"
	actionDelete   = "delete"
	actionRollback = "rollback"
	actionRollout  = "rollout"
	actionWiden    = "widen"
	actionPromote  = "promote"
	actionAbort    = "abort"
	actionInherit  = "inherit"
)

// doc is a config as it is.
type doc struct {
	id        string
	revision  int64  // of the last write that concerned it
	there     bool   // false: it was deleted
	data      []byte // JSON, what everybody has
	author    string
	comment   string
	updated   int64
	candidate []byte           // JSON, what is rolled out
	rollout   *pb.RolloutState // nil: nothing is
}

// entry is one write in the log.
type entry struct {
	revision int64
	id, path string
	action   string
	author   string
	comment  string
	at       int64
	settled  bool   // data is what everybody has from here on
	there    bool   // the config is not deleted
	data     []byte // JSON, the whole config; the candidate for actionRollout
	rollout  *pb.RolloutState
}

// logQuery chooses entries; zero values choose all.
type logQuery struct {
	id, author    string
	from, to      int64
	limit, offset int64
	reverse       bool
}

// store keeps configs and the log of all writes. Every write has a revision of
// its own, and a write that is visible has all earlier ones visible before it.
// It is safe for concurrent use, also by several processes.
type store interface {
	// Write has change make the next doc and the entry that tells of it out of
	// the present doc, nil when there never was one, and the revision of the
	// write. Writes come one after the other. An error of change is returned and
	// nothing is written. The doc is written with all but the revision.
	Write(ctx context.Context, id string, change func(old *doc, revision int64) (*doc, *entry, error)) (int64, error)
	// Inherit makes namespace inherit from parent, unless check, which gets the
	// parent of each namespace, returns an error.
	Inherit(ctx context.Context, namespace, parent string, e *entry, check func(parents map[string]string) error) (int64, error)
	// Touch writes a revision and nothing else, to find out whether writes work.
	Touch(ctx context.Context) error
	// Revision returns that of the newest write.
	Revision(ctx context.Context) (int64, error)
	// Changed returns the docs that were written after a revision.
	Changed(ctx context.Context, since int64) ([]*doc, error)
	// Parents returns the parent of each namespace.
	Parents(ctx context.Context) (map[string]string, error)
	// At returns the entry that tells what a config was at a revision, or
	// rpcerr.ErrNotFound: the write of that revision itself, or the newest
	// settled one before.
	At(ctx context.Context, id string, revision int64) (*entry, error)
	// Log returns entries in the order of their revisions.
	Log(ctx context.Context, q logQuery) ([]*entry, error)
}
