package srv

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/internal/conftree"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpcerr"
)

// handler is go.micro.srv.config.
type handler struct {
	state     *state
	done      <-chan struct{}
	watchers  *daemon.Streams
	instances instances
}

// wireSet returns a change set of JSON data, with the checksum of exactly that data.
func wireSet(data []byte, at int64) *pb.ChangeSet {
	return &pb.ChangeSet{Timestamp: at, Data: string(data), Checksum: checksum(data), Source: config.ServiceName, Format: "json"}
}

// Read implements pb.ConfigHandler.
func (h *handler) Read(ctx context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	path, err := conftree.ParsePath(req.Path)
	if err == nil {
		err = checkID("id", req.Id)
	}
	if err == nil {
		err = checkInstance(req.Instance, req.Labels)
	}
	if err == nil && (req.Revision < 0 || req.Revision > 0 && !req.Own) {
		err = invalid("revision: negative, or without own")
	}
	if err != nil {
		return refuse(err)
	}
	now := h.state.now.Load()
	rsp.Revision = now.revision
	change, tree, err := h.read(ctx, now, req)
	if err != nil {
		return refuse(err)
	}
	v, found := conftree.Lookup(tree, path)
	if !found {
		return refuse(fmt.Errorf("%s %s: %w", req.Id, req.Path, rpcerr.ErrNotFound))
	}
	data := conftree.Encode(v)
	change.Path = req.Path
	if len(data) > maxRead {
		return refuse(tooLarge(req.Id, len(data)))
	}
	change.ChangeSet = wireSet(data, change.Timestamp)
	rsp.Change = change
	return nil
}

// read returns a config without its data, and its data.
func (h *handler) read(ctx context.Context, now *view, req *pb.ReadRequest) (*pb.Change, conftree.Tree, error) {
	switch d := now.docs[req.Id]; {
	case req.Revision > 0:
		e, err := h.state.store.At(ctx, req.Id, req.Revision)
		if err == nil && !e.there {
			err = fmt.Errorf("%s was deleted at revision %d: %w", req.Id, e.revision, rpcerr.ErrNotFound)
		}
		if err != nil {
			return nil, nil, err
		}
		tree, err := conftree.Decode("json", e.data)
		return e.wire(), tree, err
	case req.Own && (d == nil || !d.there):
		return nil, nil, fmt.Errorf("%s: %w", req.Id, rpcerr.ErrNotFound)
	case req.Own:
		return d.wire(), d.tree, nil
	}
	r, found := now.seen(req.Id, req.Instance, req.Labels)
	if !found {
		return nil, nil, fmt.Errorf("%s: %w", req.Id, rpcerr.ErrNotFound)
	}
	return &pb.Change{Id: req.Id, Author: r.author, Comment: r.comment, Timestamp: r.updated, Revision: r.revision}, r.tree, nil
}

// wire returns the doc without its data.
func (d *doc) wire() *pb.Change {
	return &pb.Change{Id: d.id, Author: d.author, Comment: d.comment, Timestamp: d.updated, Revision: d.revision, Rollout: d.rollout}
}

// wire returns the entry without its data.
func (e *entry) wire() *pb.Change {
	return &pb.Change{Id: e.id, Path: e.path, Author: e.author, Comment: e.comment, Timestamp: e.at, Revision: e.revision, Rollout: e.rollout}
}

// Search implements pb.ConfigHandler.
func (h *handler) Search(_ context.Context, req *pb.SearchRequest, rsp *pb.SearchResponse) error {
	if err := checkPage(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	now := h.state.now.Load()
	room := newRoom()
	for _, id := range slices.Sorted(maps.Keys(now.docs)) {
		d := now.docs[id]
		if !d.there || !strings.HasPrefix(id, req.Id) || req.Author != "" && d.author != req.Author {
			continue
		}
		if req.Offset > 0 {
			req.Offset--
			continue
		}
		if int64(len(rsp.Configs)) == req.Limit {
			break
		}
		c := d.wire()
		c.ChangeSet = wireSet(masked(d.tree, nil, &room.data), d.updated)
		if !room.take(c) {
			break
		}
		rsp.Configs = append(rsp.Configs, c)
	}
	return nil
}

// AuditLog implements pb.ConfigHandler.
func (h *handler) AuditLog(ctx context.Context, req *pb.AuditLogRequest, rsp *pb.AuditLogResponse) error {
	if err := checkPage(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	if req.From < 0 || req.To < 0 {
		return refuse(invalid("from, to: negative"))
	}
	for field, value := range map[string]string{"id": req.Id, "author": req.Author} {
		if value != "" && !clean.Name(value, maxName) {
			return refuse(invalid("%s: not 1 to %d printable bytes", field, maxName))
		}
	}
	entries, err := h.state.store.Log(ctx, logQuery{
		id: req.Id, author: req.Author, from: req.From, to: req.To, limit: req.Limit, offset: req.Offset, reverse: req.Reverse,
	})
	if err != nil {
		return refuse(err)
	}
	room := newRoom()
	for _, e := range entries {
		c := e.wire()
		if len(e.data) > 0 {
			tree, err := conftree.Decode("json", e.data)
			if err != nil {
				return refuse(fmt.Errorf("entry %d: %w", e.revision, err))
			}
			path, err := conftree.ParsePath(e.path)
			if err != nil {
				return refuse(fmt.Errorf("entry %d: %w", e.revision, err))
			}
			c.ChangeSet = wireSet(masked(tree, path, &room.data), e.at)
		}
		entry := &pb.ChangeLog{Action: e.action, Change: c}
		if !room.take(entry) {
			break
		}
		rsp.Changes = append(rsp.Changes, entry)
	}
	return nil
}

// Diff implements pb.ConfigHandler.
func (h *handler) Diff(ctx context.Context, req *pb.DiffRequest, rsp *pb.DiffResponse) error {
	if err := checkID("id", req.Id); err != nil {
		return refuse(err)
	}
	if req.From < 0 || req.To < 0 {
		return refuse(invalid("from, to: negative"))
	}
	before, err := h.treeAt(ctx, req.Id, req.From)
	if err != nil {
		return refuse(err)
	}
	to := req.To
	if to == 0 {
		to = 1 << 62
	}
	after, err := h.treeAt(ctx, req.Id, to)
	if err != nil {
		return refuse(err)
	}
	if rsp.Differences, err = differences(before, after); err != nil {
		return refuse(err)
	}
	return nil
}

// treeAt returns what a config was: nothing before it was made and while it was
// deleted.
func (h *handler) treeAt(ctx context.Context, id string, revision int64) (conftree.Tree, error) {
	if revision == 0 {
		return conftree.Tree{}, nil
	}
	e, err := h.state.store.At(ctx, id, revision)
	if err != nil {
		return nil, err
	}
	if !e.there {
		return conftree.Tree{}, nil
	}
	return conftree.Decode("json", e.data)
}

// Namespaces implements pb.ConfigHandler.
func (h *handler) Namespaces(_ context.Context, _ *pb.NamespacesRequest, rsp *pb.NamespacesResponse) error {
	parents := h.state.now.Load().parents
	for _, name := range slices.Sorted(maps.Keys(parents)) {
		rsp.Namespaces = append(rsp.Namespaces, &pb.Namespace{Name: name, Parent: parents[name]})
	}
	return nil
}
