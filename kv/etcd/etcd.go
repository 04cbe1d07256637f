// Package etcd is kv on an etcd cluster (version 3.4 or later).
//
// Keys are "namespace:key". An item that expires hangs on a lease of its own,
// which etcd ends in whole seconds and late; the exact end stands in front of
// the value and is checked here by the wall clock. The optional abilities are
// transactions. What etcd has acknowledged survives the loss of a minority.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/micro/go-platform/internal/etcdclient"
	"github.com/micro/go-platform/kv"
	"github.com/micro/go-platform/kv/internal/stamp"
	"github.com/micro/go-platform/kv/plugin"
)

// User sets the name and password of a user of etcd. The user needs to read and
// write the keys that begin with the namespace and a colon. The default is none,
// for a cluster without authentication.
func User(name, password string) kv.Option {
	return func(o *kv.Options) { o.Context = etcdclient.WithUser(o.Context, name, password) }
}

// NewKV returns a KV on the cluster at Servers, by default 127.0.0.1:2379. It
// takes the option User.
func NewKV(opts ...kv.Option) kv.KV {
	o := kv.NewOptions(opts...)
	s := &store{etcd: etcdclient.New(o.Context, o.Servers, o.TLS, o.Timeout)}
	s.Remote = plugin.NewRemote(o, failed, nil, s.etcd.Close)
	s.Atomic = plugin.Atomic{Remote: s.Remote, Change: s.change}
	return s
}

type store struct {
	*plugin.Remote
	plugin.Atomic
	etcd *etcdclient.Client
}

func (s *store) String() string { return "etcd" }

func failed(err error) error {
	if etcdclient.Forbidden(err) {
		return fmt.Errorf("%w: %w", kv.ErrForbidden, err)
	}
	var e rpctypes.EtcdError
	if errors.As(err, &e) && !slices.Contains([]error{
		rpctypes.ErrNoLeader, rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrNotCapable, rpctypes.ErrStopped,
	}, error(e)) {
		return err
	}
	return nil
}

// parse returns ErrNotFound for no pair and for what has expired.
func parse(key string, p *mvccpb.KeyValue, now time.Time) (*kv.Item, error) {
	if p == nil {
		return nil, kv.ErrNotFound
	}
	if p.Lease == 0 {
		return &kv.Item{Key: key, Value: p.Value}, nil
	}
	value, left, alive := stamp.Cut(p.Value, now)
	if !alive {
		return nil, kv.ErrNotFound
	}
	return &kv.Item{Key: key, Value: value, Expiration: left}, nil
}

func (s *store) do(doing, key string, opts []kv.CallOption, bad error, f func(context.Context, *clientv3.Client) error) error {
	return s.Do(doing, key, opts, bad, func(ctx context.Context) error {
		c, err := s.etcd.Get(ctx)
		if err != nil {
			return err
		}
		return f(ctx, c)
	})
}

// read returns the pair, nil for none.
func (s *store) read(ctx context.Context, c *clientv3.Client, key string) (*mvccpb.KeyValue, error) {
	rsp, err := c.Get(ctx, s.Key(key))
	if err != nil || len(rsp.Kvs) == 0 {
		return nil, err
	}
	return rsp.Kvs[0], nil
}

func (s *store) Get(key string, opts ...kv.CallOption) (item *kv.Item, _ error) {
	err := s.do("get", key, opts, kv.CheckKey(key), func(ctx context.Context, c *clientv3.Client) error {
		pair, err := s.read(ctx, c, key)
		if err == nil {
			item, err = parse(key, pair, time.Now())
		}
		return err
	})
	return item, err
}

const maxOps = 100 // of a transaction; etcd's own bound is 128

// GetMany reads 100 keys in a round trip, all as of one moment.
func (s *store) GetMany(keys []string, opts ...kv.CallOption) (map[string]*kv.Item, error) {
	items := make(map[string]*kv.Item, len(keys))
	err := s.do("get many", "", opts, kv.CheckKeys(keys), func(ctx context.Context, c *clientv3.Client) error {
		for some := range slices.Chunk(keys, maxOps) {
			ops := make([]clientv3.Op, len(some))
			for i, key := range some {
				ops[i] = clientv3.OpGet(s.Key(key))
			}
			rsp, err := c.Txn(ctx).Then(ops...).Commit()
			if err != nil {
				return err
			}
			for i, key := range some {
				for _, p := range rsp.Responses[i].GetResponseRange().Kvs {
					if item, err := parse(key, p, time.Now()); err == nil {
						items[key] = item
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// write puts the item, whose expiration counts from now, if the conditions hold,
// and ends the lease of the one that it replaces.
func (s *store) write(ctx context.Context, c *clientv3.Client, item *kv.Item, now time.Time, conditions ...clientv3.Cmp) (done bool, _ error) {
	value, opts := item.Value, []clientv3.OpOption{clientv3.WithPrevKV()}
	var lease clientv3.LeaseID
	if item.Expiration > 0 {
		grant, err := c.Grant(ctx, int64((item.Expiration+time.Second-1)/time.Second)+1)
		if err != nil {
			return false, err
		}
		lease = grant.ID
		value, opts = stamp.Put(value, now, item.Expiration), append(opts, clientv3.WithLease(lease))
	}
	rsp, err := c.Txn(ctx).If(conditions...).Then(clientv3.OpPut(s.Key(item.Key), string(value), opts...)).Commit()
	if err != nil {
		return false, err
	}
	if !rsp.Succeeded {
		revoke(ctx, c, int64(lease))
		return false, nil
	}
	if old := rsp.Responses[0].GetResponsePut().PrevKv; old != nil {
		revoke(ctx, c, old.Lease)
	}
	return true, nil
}

// revoke ends a lease on which nothing hangs any more.
func revoke(ctx context.Context, c *clientv3.Client, lease int64) {
	if lease != 0 {
		_, _ = c.Revoke(ctx, clientv3.LeaseID(lease)) // it ends by itself, too
	}
}

func (s *store) Put(item *kv.Item, opts ...kv.CallOption) error {
	if err := kv.CheckItem(item); err != nil {
		return err
	}
	return s.do("put", item.Key, opts, nil, func(ctx context.Context, c *clientv3.Client) error {
		_, err := s.write(ctx, c, item, time.Now())
		return err
	})
}

func (s *store) Del(key string, opts ...kv.CallOption) error {
	return s.do("del", key, opts, kv.CheckKey(key), func(ctx context.Context, c *clientv3.Client) error {
		rsp, err := c.Delete(ctx, s.Key(key), clientv3.WithPrevKV())
		if err == nil && len(rsp.PrevKvs) > 0 {
			revoke(ctx, c, rsp.PrevKvs[0].Lease)
		}
		return err
	})
}

// change implements plugin.Change.
func (s *store) change(ctx context.Context, key string, f func(old *kv.Item) (*kv.Item, error)) error {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return err
	}
	for {
		pair, err := s.read(ctx, c, key)
		if err != nil {
			return err
		}
		now := time.Now()
		old, _ := parse(key, pair, now) // nil is what f wants for none
		next, err := f(old)
		if err != nil {
			return err
		}
		var revision int64
		if pair != nil {
			revision = pair.ModRevision
		}
		done, err := s.write(ctx, c, next, now, clientv3.Compare(clientv3.ModRevision(s.Key(key)), "=", revision))
		if done || err != nil {
			return err
		}
	}
}
