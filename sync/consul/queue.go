package consul

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/sync/internal/queue"
)

const (
	maxOps = 64 // of a transaction, in Consul
	// poll bounds a blocking query, so that an agent that hangs is noticed.
	poll = 15 * time.Second
	// maxWaits is how many blocking queries there are at a time: an agent takes
	// 200 connections from all that is on a host. Others look every glance.
	maxWaits = 32
	glance   = 2 * time.Second
)

// plain is a key as Consul has it: without a slash before it.
func plain(key string) string { return strings.TrimPrefix(key, "/") }

// prefix of a queue.
func prefix(key string) string { return plain(key) + "/" }

func path(key, name string) string { return prefix(key) + name }

func fromPairs(key string, pairs api.KVPairs, revision uint64) queue.Queue {
	q := queue.Queue{Revision: max(revision, 1), Entries: make([]queue.Entry, 0, len(pairs))}
	for _, p := range pairs {
		if p.Session == "" { // nobody's: its session ended
			continue
		}
		q.Entries = append(q.Entries, queue.Entry{Name: strings.TrimPrefix(p.Key, prefix(key)), Order: p.CreateIndex, Value: p.Value})
	}
	slices.SortFunc(q.Entries, func(a, b queue.Entry) int {
		if a.Order < b.Order {
			return -1
		}
		return 1
	})
	return q
}

func (s *store) Enter(ctx context.Context, lease, key, name string, value []byte) (queue.Queue, error) {
	pairs, failed, err := s.transact(ctx, api.KVTxnOps{
		{Verb: api.KVCheckNotExists, Key: path(key, name)},
		{Verb: api.KVLock, Key: path(key, name), Value: value, Session: lease},
		{Verb: api.KVGetTree, Key: prefix(key)},
	})
	if err != nil {
		return queue.Queue{}, err
	}
	if len(failed) > 0 {
		return queue.Queue{}, refused(failed)
	}
	// The answer to the lock has no value, the check has none; the tree has all.
	tree := slices.DeleteFunc(pairs[1:], func(p *api.KVPair) bool { return p == nil })
	q := fromPairs(key, tree, 0)
	q.Revision = pairs[0].CreateIndex
	return q, nil
}

// refused says what is wrong with an entry: the check comes before the lock.
func refused(failed api.TxnErrors) error {
	last := failed[len(failed)-1]
	switch {
	case strings.Contains(last.What, "invalid session"):
		return queue.ErrGone
	case last.OpIndex == 0:
		return queue.ErrExists
	}
	return errors.New(last.What)
}

func (s *store) Leave(ctx context.Context, ref queue.Ref) error {
	_, err := s.consul.KV().Delete(path(ref.Queue, ref.Name), (&api.WriteOptions{}).WithContext(ctx))
	return err
}

func (s *store) List(ctx context.Context, key string) (queue.Queue, error) {
	pairs, meta, err := s.consul.KV().List(prefix(key), (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return queue.Queue{}, err
	}
	return fromPairs(key, pairs, meta.LastIndex), nil
}

// Wait looks again when the index went back, as it does when Consul was
// restored from a snapshot.
func (s *store) Wait(ctx context.Context, ref queue.Ref, from queue.Queue) error {
	index := from.Revision
	for {
		now, there, err := s.query(ctx, ref, index)
		if err != nil {
			return err
		}
		if now < index || ref.Name == "" && now != index || ref.Name != "" && !there {
			return nil
		}
		index = now
	}
}

// query waits until the entry, or the queue, is newer than index, or for a while.
func (s *store) query(ctx context.Context, ref queue.Ref, index uint64) (now uint64, there bool, err error) {
	timer := time.NewTimer(glance)
	defer timer.Stop()
	select {
	case s.waits <- struct{}{}:
		defer func() { <-s.waits }()
	case <-timer.C:
		index = 0
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
	o, cancel := s.blocking(ctx, index)
	defer cancel()
	var meta *api.QueryMeta
	if ref.Name == "" {
		_, meta, err = s.consul.KV().Keys(prefix(ref.Queue), "", o)
	} else {
		var pair *api.KVPair
		pair, meta, err = s.consul.KV().Get(path(ref.Queue, ref.Name), o)
		there = pair != nil && pair.Session != "" && pair.CreateIndex == ref.Order
	}
	if err != nil {
		return 0, false, err
	}
	return meta.LastIndex, there, nil
}

// blocking returns the options of a query that blocks until there is something
// newer than index, unless that is 0.
func (s *store) blocking(ctx context.Context, index uint64) (*api.QueryOptions, context.CancelFunc) {
	ctx, cancel := lifecycle.Bound(ctx, poll*2)
	return (&api.QueryOptions{RequireConsistent: true, WaitIndex: index, WaitTime: poll}).WithContext(ctx), cancel
}

func (s *store) Missing(ctx context.Context, lease string, entries []queue.Ref) (missing []queue.Ref, _ error) {
	for len(entries) > 0 {
		some := entries[:min(maxOps, len(entries))]
		entries = entries[len(some):]
		var ops api.KVTxnOps
		for _, ref := range some {
			ops = append(ops, &api.KVTxnOp{Verb: api.KVCheckSession, Key: path(ref.Queue, ref.Name), Session: lease})
		}
		_, failed, err := s.transact(ctx, ops)
		if err != nil {
			return nil, err
		}
		for _, e := range failed {
			missing = append(missing, some[e.OpIndex])
		}
	}
	return missing, nil
}

func (s *store) Load(ctx context.Context, key string) ([]byte, error) {
	pair, _, err := s.consul.KV().Get(plain(key), (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil || pair == nil {
		return nil, err
	}
	return pair.Value, nil
}

func (s *store) Save(ctx context.Context, key string, value []byte, lease string, holder queue.Ref) error {
	_, failed, err := s.transact(ctx, api.KVTxnOps{
		{Verb: api.KVCheckSession, Key: path(holder.Queue, holder.Name), Session: lease},
		{Verb: api.KVSet, Key: plain(key), Value: value},
	})
	if err == nil && len(failed) > 0 {
		return queue.ErrGone
	}
	return err
}
