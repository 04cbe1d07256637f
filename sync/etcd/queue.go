package etcd

import (
	"context"
	"errors"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/micro/go-platform/sync/internal/queue"
)

const (
	maxOps = 100              // below the 128 operations that etcd takes in a transaction
	poll   = 15 * time.Second // what etcd does not tell is looked for this often
)

func path(key, name string) string { return key + "/" + name }

// inOrder reads a queue: the revision at which an entry was made is its order.
func inOrder(key string) clientv3.Op {
	return clientv3.OpGet(key+"/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
}

func fromRange(key string, rsp *clientv3.GetResponse, revision int64) queue.Queue {
	q := queue.Queue{Revision: uint64(revision), Entries: make([]queue.Entry, 0, len(rsp.Kvs))}
	for _, kv := range rsp.Kvs {
		q.Entries = append(q.Entries, queue.Entry{
			Name: strings.TrimPrefix(string(kv.Key), key+"/"), Order: uint64(kv.CreateRevision), Value: kv.Value,
		})
	}
	return q
}

func (s *store) Enter(ctx context.Context, lease, key, name string, value []byte) (queue.Queue, error) {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return queue.Queue{}, err
	}
	put := clientv3.OpPut(path(key, name), string(value), clientv3.WithLease(parse(lease)))
	rsp, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(path(key, name)), "=", 0)).Then(put, inOrder(key)).Commit()
	if err != nil {
		return queue.Queue{}, gone(err)
	}
	if !rsp.Succeeded {
		return queue.Queue{}, queue.ErrExists
	}
	return fromRange(key, (*clientv3.GetResponse)(rsp.Responses[1].GetResponseRange()), rsp.Header.Revision), nil
}

func (s *store) Leave(ctx context.Context, ref queue.Ref) error {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return err
	}
	_, err = c.Delete(ctx, path(ref.Queue, ref.Name))
	return err
}

func (s *store) List(ctx context.Context, key string) (queue.Queue, error) {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return queue.Queue{}, err
	}
	rsp, err := c.Do(ctx, inOrder(key))
	if err != nil {
		return queue.Queue{}, err
	}
	return fromRange(key, rsp.Get(), rsp.Get().Header.Revision), nil
}

// Wait looks itself now and then: a server that lost its data numbers anew, and
// a watch from a revision in its future never reports anything.
func (s *store) Wait(ctx context.Context, ref queue.Ref, from queue.Queue) error {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return err
	}
	for revision := int64(from.Revision); ; {
		bounded, cancel := context.WithTimeout(ctx, poll)
		changed, err := watch(bounded, c, ref, revision+1)
		cancel()
		if changed || ctx.Err() != nil || err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if ref.Name == "" {
			return nil
		}
		var there bool
		if there, revision, err = look(ctx, c, ref); err != nil || !there {
			return err
		}
	}
}

func look(ctx context.Context, c *clientv3.Client, ref queue.Ref) (there bool, revision int64, _ error) {
	ctx, cancel := context.WithTimeout(ctx, poll)
	defer cancel()
	rsp, err := c.Get(ctx, path(ref.Queue, ref.Name))
	if err != nil {
		return false, 0, err
	}
	return len(rsp.Kvs) > 0 && uint64(rsp.Kvs[0].CreateRevision) == ref.Order, rsp.Header.Revision, nil
}

// watch reports whether the entry is gone, or the queue has changed, since a
// revision.
func watch(ctx context.Context, c *clientv3.Client, ref queue.Ref, revision int64) (changed bool, _ error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	opts := []clientv3.OpOption{clientv3.WithRev(revision)}
	if ref.Name == "" {
		opts = append(opts, clientv3.WithPrefix())
	}
	for rsp := range c.Watch(ctx, path(ref.Queue, ref.Name), opts...) {
		if rsp.CompactRevision != 0 { // too long ago to tell
			return true, nil
		}
		if err := rsp.Err(); err != nil {
			return false, err
		}
		for _, e := range rsp.Events {
			if ref.Name == "" || e.Type == clientv3.EventTypeDelete {
				return true, nil
			}
		}
	}
	return false, ctx.Err()
}

func (s *store) Missing(ctx context.Context, _ string, entries []queue.Ref) (missing []queue.Ref, _ error) {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return nil, err
	}
	for len(entries) > 0 {
		some := entries[:min(maxOps, len(entries))]
		entries = entries[len(some):]
		ops := make([]clientv3.Op, 0, len(some))
		for _, ref := range some {
			ops = append(ops, clientv3.OpGet(path(ref.Queue, ref.Name), clientv3.WithCountOnly()))
		}
		rsp, err := c.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return nil, err
		}
		for i, ref := range some {
			if rsp.Responses[i].GetResponseRange().Count == 0 {
				missing = append(missing, ref)
			}
		}
	}
	return missing, nil
}

func (s *store) Load(ctx context.Context, key string) ([]byte, error) {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return nil, err
	}
	rsp, err := c.Get(ctx, key)
	if err != nil || len(rsp.Kvs) == 0 {
		return nil, err
	}
	return rsp.Kvs[0].Value, nil
}

func (s *store) Save(ctx context.Context, key string, value []byte, _ string, holder queue.Ref) error {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return err
	}
	rsp, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(path(holder.Queue, holder.Name)), ">", 0)).
		Then(clientv3.OpPut(key, string(value))).Commit()
	if err == nil && !rsp.Succeeded {
		return queue.ErrGone
	}
	return err
}
