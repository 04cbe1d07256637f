// Package etcd is sync on an etcd cluster (version 3.4 or later).
//
// TTLs are whole seconds, rounded up, at least one (the cluster's own minimum
// is a few election timeouts). The fencing token is the revision of the store
// at which the holder's entry was made.
package etcd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"math"
	"strconv"
	stdsync "sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/queue"
	"github.com/micro/go-platform/sync/plugin"
)

// NewSync returns a Sync on the cluster at Nodes, by default 127.0.0.1:2379.
func NewSync(opts ...sync.Option) sync.Sync {
	o := plugin.NewOptions(opts...)
	if len(o.Nodes) == 0 {
		o.Nodes = []string{"127.0.0.1:2379"}
	}
	return queue.New(&store{nodes: o.Nodes, tls: o.TLS}, o, nil)
}

type store struct {
	nodes []string
	tls   *tls.Config

	mu     stdsync.Mutex
	client *clientv3.Client // made by the first call
	closed bool
}

func (s *store) String() string { return "etcd" }

func (s *store) etcd() (*clientv3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, sync.ErrStopped
	}
	if s.client != nil {
		return s.client, nil
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: s.nodes, TLS: s.tls, Logger: zap.NewNop(),
		DialTimeout: 5 * time.Second, DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
	})
	s.client = c
	return c, err
}

func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.client == nil {
		return nil
	}
	return s.client.Close()
}

func (s *store) Grant(ctx context.Context, ttl time.Duration) (string, time.Duration, error) {
	c, err := s.etcd()
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
	c, err := s.etcd()
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
	c, err := s.etcd()
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
	c, err := s.etcd()
	if err != nil {
		return err
	}
	_, err = c.Revoke(ctx, parse(lease))
	return gone(err)
}
