package srv

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/config/internal/conftree"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
)

// edit is a write that is being made.
type edit struct {
	action, path, comment string
	author                string // as the request says
	ifRevision            *int64
	rollout               *pb.Rollout
	// change makes the next document; nil deletes it. The old one is nil when
	// there is none.
	change func(old conftree.Tree) (conftree.Tree, error)
}

// write makes the edit of a config, unless its condition does not hold or
// something is being rolled out.
func (h *handler) write(ctx context.Context, id string, e edit) (int64, error) {
	who := author(ctx, e.author)
	revision, err := h.state.store.Write(ctx, id, func(old *doc, revision int64) (*doc, *entry, error) {
		if err := allowed(old, e.ifRevision, revision); err != nil {
			return nil, nil, err
		}
		if old != nil && old.rollout != nil {
			return nil, nil, fmt.Errorf("%w: revision %d of %s is being rolled out: promote or abort it first", rpcerr.ErrConflict, old.rollout.Revision, id)
		}
		return h.apply(id, old, revision, who, e)
	})
	return h.written(ctx, revision, err)
}

// allowed checks the condition of the write that becomes revision next: the config
// did not change since ifRevision; 0 means that it does not exist.
func allowed(old *doc, ifRevision *int64, next int64) error {
	if ifRevision == nil {
		return nil
	}
	is := int64(0)
	if old != nil && old.there {
		is = old.revision
	}
	if since := *ifRevision; since == is || is > 0 && since > is && since < next {
		return nil
	}
	return fmt.Errorf("%w: the revision is %d, not %d", rpcerr.ErrConflict, is, *ifRevision)
}

func (h *handler) apply(id string, old *doc, revision int64, who string, e edit) (*doc, *entry, error) {
	var before conftree.Tree
	if old != nil && old.there {
		var err error
		if before, err = conftree.Decode("json", old.data); err != nil {
			return nil, nil, err
		}
	}
	after, err := e.change(before)
	if err != nil {
		return nil, nil, err
	}
	d := &doc{id: id, there: after != nil, author: who, comment: e.comment, updated: time.Now().Unix()}
	if after != nil {
		d.data = conftree.Encode(after)
		if len(d.data) > maxData {
			return nil, nil, invalid("change.change_set.data: the config becomes %d bytes, more than %d", len(d.data), maxData)
		}
		if _, err := conftree.Decode("json", d.data); err != nil { // depth and number of values
			return nil, nil, fmt.Errorf("change.change_set.data: %w", err)
		}
	}
	w := weigh(d.data, after, nil, nil)
	if e.rollout != nil { // some instances keep what there is
		w = w.most(h.state.now.Load().weight(id))
	}
	if err := h.room(old, d, w); err != nil {
		return nil, nil, err
	}
	l := &entry{id: id, path: e.path, action: e.action, author: who, comment: e.comment, at: d.updated, settled: true, there: d.there, data: d.data}
	if e.rollout != nil {
		d.rollout = &pb.RolloutState{Rollout: e.rollout, Revision: revision, Began: d.updated}
		d.candidate, d.data = d.data, old.data
		l.action, l.settled, l.rollout = actionRollout, false, d.rollout
	}
	return d, l, nil
}

// room keeps all configs within the memory that they may have, and each within what
// its readers take.
func (h *handler) room(old, d *doc, w weight) error {
	now := h.state.now.Load()
	if old == nil && len(now.docs) >= maxConfigs {
		return fmt.Errorf("%w: %d configs already", rpcerr.ErrLimited, maxConfigs)
	}
	if now.size+len(d.data) > maxTotal {
		return fmt.Errorf("%w: all configs have %d bytes already", rpcerr.ErrLimited, now.size)
	}
	return now.whole(d.id, w)
}

// written has watchers of this process hear of a write at once.
func (h *handler) written(ctx context.Context, revision int64, err error) (int64, error) {
	h.state.wrote(err)
	if err != nil {
		return 0, refuse(err)
	}
	if err := h.state.refresh(ctx); err != nil {
		h.state.log.Warn("a write will be seen later", "revision", revision, "error", err)
	}
	return revision, nil
}

// Create implements pb.ConfigHandler.
func (h *handler) Create(ctx context.Context, req *pb.CreateRequest, rsp *pb.CreateResponse) error {
	path, comment, err := checkChange(req.Change)
	if err != nil {
		return refuse(err)
	}
	v, err := parse(req.Change, path)
	if err != nil {
		return refuse(err)
	}
	rsp.Revision, err = h.write(ctx, req.Change.Id, edit{action: actionCreate, path: req.Change.Path, comment: comment, author: req.Change.Author, change: func(old conftree.Tree) (conftree.Tree, error) {
		if _, there := conftree.Lookup(old, path); there && old != nil {
			return nil, fmt.Errorf("%s %s: %w", req.Change.Id, req.Change.Path, rpcerr.ErrExists)
		}
		return put(old, path, v), nil
	}})
	return err
}

func put(old conftree.Tree, path []string, v any) conftree.Tree {
	if len(path) == 0 {
		return v.(conftree.Tree)
	}
	return conftree.Set(old, path, v)
}

// Update implements pb.ConfigHandler.
func (h *handler) Update(ctx context.Context, req *pb.UpdateRequest, rsp *pb.UpdateResponse) error {
	path, comment, err := checkChange(req.Change)
	if err != nil {
		return refuse(err)
	}
	v, err := parse(req.Change, path)
	if err != nil {
		return refuse(err)
	}
	if req.Rollout != nil {
		if err := checkRollout(req.Rollout); err != nil {
			return refuse(err)
		}
	}
	rsp.Revision, err = h.write(ctx, req.Change.Id, edit{
		action: actionUpdate, path: req.Change.Path, comment: comment, author: req.Change.Author, ifRevision: req.IfRevision, rollout: req.Rollout,
		change: func(old conftree.Tree) (conftree.Tree, error) {
			if old == nil {
				return nil, fmt.Errorf("%s: %w", req.Change.Id, rpcerr.ErrNotFound)
			}
			return put(old, path, v), nil
		}})
	return err
}

// Delete implements pb.ConfigHandler.
func (h *handler) Delete(ctx context.Context, req *pb.DeleteRequest, rsp *pb.DeleteResponse) error {
	path, comment, err := checkChange(req.Change)
	if err != nil {
		return refuse(err)
	}
	rsp.Revision, err = h.write(ctx, req.Change.Id, edit{
		action: actionDelete, path: req.Change.Path, comment: comment, author: req.Change.Author, ifRevision: req.IfRevision,
		change: func(old conftree.Tree) (conftree.Tree, error) {
			if _, there := conftree.Lookup(old, path); !there || old == nil {
				return nil, fmt.Errorf("%s %s: %w", req.Change.Id, req.Change.Path, rpcerr.ErrNotFound)
			}
			if len(path) == 0 {
				return nil, nil
			}
			return conftree.Delete(old, path), nil
		}})
	return err
}

// Rollback implements pb.ConfigHandler.
func (h *handler) Rollback(ctx context.Context, req *pb.RollbackRequest, rsp *pb.RollbackResponse) error {
	if err := checkID("id", req.Id); err != nil {
		return refuse(err)
	}
	if req.Revision <= 0 {
		return refuse(invalid("revision: %d is not positive", req.Revision))
	}
	to, err := h.state.store.At(ctx, req.Id, req.Revision)
	if err != nil {
		return refuse(err)
	}
	if !to.there {
		return refuse(fmt.Errorf("%s was deleted at revision %d: %w", req.Id, to.revision, rpcerr.ErrNotFound))
	}
	comment := clean.Text(req.Comment, maxComment)
	if comment == "" {
		comment = fmt.Sprintf("to revision %d", req.Revision)
	}
	rsp.Revision, err = h.write(ctx, req.Id, edit{
		action: actionRollback, comment: comment, ifRevision: req.IfRevision,
		change: func(conftree.Tree) (conftree.Tree, error) { return conftree.Decode("json", to.data) }})
	return err
}

// Rollout implements pb.ConfigHandler.
func (h *handler) Rollout(ctx context.Context, req *pb.RolloutRequest, rsp *pb.RolloutResponse) (err error) {
	if err := checkID("id", req.Id); err != nil {
		return refuse(err)
	}
	if _, known := pb.RolloutRequest_Action_name[int32(req.Action)]; !known {
		return refuse(invalid("action: %d is unknown", req.Action))
	}
	if !percentage(req.Percent) {
		return refuse(invalid("percent: %v is not within 0 and 100", req.Percent))
	}
	rsp.Revision, err = h.roll(ctx, req, author(ctx, ""), 0)
	return err
}

// roll changes what is rolled out. Only is the revision that must be, 0 for any.
func (h *handler) roll(ctx context.Context, req *pb.RolloutRequest, who string, only int64) (int64, error) {
	revision, err := h.state.store.Write(ctx, req.Id, func(old *doc, revision int64) (*doc, *entry, error) {
		if err := allowed(old, req.IfRevision, revision); err != nil {
			return nil, nil, err
		}
		if old == nil || old.rollout == nil || only > 0 && old.rollout.Revision != only {
			return nil, nil, fmt.Errorf("%w: nothing of %s is being rolled out", rpcerr.ErrConflict, req.Id)
		}
		d := *old
		d.author, d.comment, d.updated = who, clean.Text(req.Comment, maxComment), time.Now().Unix()
		e := &entry{id: d.id, author: d.author, comment: d.comment, at: d.updated, there: true, rollout: old.rollout}
		switch req.Action {
		case pb.RolloutRequest_PROMOTE:
			e.action, e.settled, e.data = actionPromote, true, old.candidate
			d.data, d.candidate, d.rollout = old.candidate, nil, nil
		case pb.RolloutRequest_ABORT:
			e.action = actionAbort
			d.candidate, d.rollout = nil, nil
		default:
			d.rollout = proto.CloneOf(old.rollout)
			d.rollout.Rollout.Percent = req.Percent
			e.action, e.rollout = actionWiden, d.rollout
		}
		return &d, e, nil
	})
	return h.written(ctx, revision, err)
}

// Inherit implements pb.ConfigHandler.
func (h *handler) Inherit(ctx context.Context, req *pb.InheritRequest, rsp *pb.InheritResponse) error {
	n := req.Namespace
	if n == nil || !word(n.Name, 64) {
		return refuse(invalid("namespace.name: not 1 to 64 letters, digits and -_."))
	}
	if n.Parent != "" && !word(n.Parent, 64) {
		return refuse(invalid("namespace.parent: not 1 to 64 letters, digits and -_."))
	}
	e := &entry{
		id: n.Name + ":", action: actionInherit, author: author(ctx, ""), comment: clean.Text(req.Comment, maxComment), at: time.Now().Unix(),
		there: true, data: conftree.Encode(conftree.Tree{"parent": n.Parent}),
	}
	revision, err := h.state.store.Inherit(ctx, n.Name, n.Parent, e, func(parents map[string]string) error {
		if err := checkParents(parents, n); err != nil {
			return err
		}
		return h.state.now.Load().wholeHeirs(n.Name, parents)
	})
	rsp.Revision, err = h.written(ctx, revision, err)
	return err
}

// checkParents refuses circles and long chains.
func checkParents(parents map[string]string, n *pb.Namespace) error {
	if len(parents) >= maxConfigs {
		return fmt.Errorf("%w: %d namespaces already", rpcerr.ErrLimited, maxConfigs)
	}
	parents[n.Name] = n.Parent
	for name := range parents {
		seen := map[string]bool{}
		for at := name; at != ""; {
			if seen[at] {
				return invalid("namespace.parent: %s would inherit from itself", at)
			}
			if seen[at] = true; len(seen) > maxChain {
				return invalid("namespace.parent: a chain of more than %d", maxChain)
			}
			parent, known := parents[at]
			if !known && at != rootNamespace {
				parent = rootNamespace
			}
			at = parent
		}
	}
	return nil
}
