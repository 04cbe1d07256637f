// Package etcd is sync on an etcd cluster (version 3.4 or later).
//
// TTLs are whole seconds, rounded up, at least one (the cluster's own minimum
// is a few election timeouts). The fencing token is the revision of the store
// at which the holder's entry was made.
package etcd

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/micro/go-platform/internal/etcdclient"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/queue"
)

// User sets the name and password of a user of etcd. The user needs to read and
// write the keys below the namespace. The default is none, for a cluster without
// authentication.
func User(name, password string) sync.Option {
	return func(o *sync.Options) { o.Context = etcdclient.WithUser(o.Context, name, password) }
}

// NewSync returns a Sync on the cluster at Nodes, by default 127.0.0.1:2379. It
// takes the option User.
func NewSync(opts ...sync.Option) sync.Sync {
	o := sync.NewOptions(opts...)
	return queue.New(newStore(o), o, nil)
}

type store struct{ etcd *etcdclient.Client }

func newStore(o sync.Options) *store {
	return &store{etcdclient.New(o.Context, o.Nodes, o.TLS, 5*time.Second)}
}

func (s *store) String() string { return "etcd" }

func (s *store) Close() error { return s.etcd.Close() }

func (s *store) Forbidden(err error) bool { return etcdclient.Forbidden(err) }

func (s *store) Grant(ctx context.Context, ttl time.Duration) (string, time.Duration, error) {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return "", 0, err
	}
	rsp, err := c.Grant(ctx, int64(math.Ceil(ttl.Seconds())))
	if err != nil {
		return "", 0, err
	}
	return strconv.FormatInt(int64(rsp.ID), 16), time.Duration(rsp.TTL) * time.Second, nil
}

func parse(lease string) clientv3.LeaseID {
	id, _ := strconv.ParseInt(lease, 16, 64) // Grant wrote it
	return clientv3.LeaseID(id)
}

func gone(err error) error {
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return queue.ErrGone
	}
	return err
}

func (s *store) Renew(ctx context.Context, lease string) error {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return err
	}
	_, err = c.KeepAliveOnce(ctx, parse(lease))
	return gone(err)
}

// Watch only waits: etcd tells nobody of a lease, nor that it was restored.
func (s *store) Watch(ctx context.Context, _ string) error {
	if !lifecycle.Sleep(ctx, poll) {
		return ctx.Err()
	}
	return nil
}

func (s *store) Bound(ctx context.Context, lease string) (bound []queue.Ref, _ error) {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return nil, err
	}
	rsp, err := c.TimeToLive(ctx, parse(lease), clientv3.WithAttachedKeys())
	if err != nil {
		return nil, gone(err)
	}
	for _, key := range rsp.Keys {
		slash := bytes.LastIndexByte(key, '/')
		bound = append(bound, queue.Ref{Queue: string(key[:slash]), Name: string(key[slash+1:])})
	}
	return bound, nil
}

func (s *store) Revoke(ctx context.Context, lease string) error {
	c, err := s.etcd.Get(ctx)
	if err != nil {
		return err
	}
	_, err = c.Revoke(ctx, parse(lease))
	return gone(err)
}
