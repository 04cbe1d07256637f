// Package etcdreg registers nodes at etcd so that a lease lives as long as its
// node is registered again and again, and no longer.
//
// go-micro's registry for etcd renews leases by a stream of its own as long as
// the process lives: a node whose heartbeats stop stays. A node whose metadata
// change gets a second lease, which nobody renews while the first one's stream
// is open, so that the node is gone after one TTL. After Deregister the stream
// stays open, and etcd's client logs that nobody reads it.
package etcdreg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path"
	"reflect"
	"strings"
	"sync"
	"time"

	"go-micro.dev/v6/registry"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"

	"github.com/micro/go-platform/internal/regcache"
)

// Registry is go-micro's registry for etcd with the leases of this package. What
// it writes is what go-micro's would write, and what it reads is go-micro's.
type Registry struct {
	registry.Registry

	mu     sync.Mutex
	client *session // made by the first call
	leases map[string]*lease
}

// lease is what keeps a node at etcd. Its mutex is held while etcd is told of
// the node, so that words on one node stay in order.
type lease struct {
	mu    sync.Mutex
	id    clientv3.LeaseID // 0 for none
	ttl   int64
	value string // as it was put last; empty when unknown
}

// Leased returns r, or a Registry on top of it when it is go-micro's for etcd.
func Leased(r registry.Registry) registry.Registry {
	t := reflect.TypeOf(r)
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().PkgPath() != "go-micro.dev/v6/registry/etcd" {
		return r
	}
	return New(r)
}

// New returns a Registry on the cluster of r, which is go-micro's for etcd.
func New(r registry.Registry) *Registry {
	return &Registry{Registry: r, leases: make(map[string]*lease)}
}

// Init hands the options to go-micro's registry; they hold from the next call.
func (r *Registry) Init(opts ...registry.Option) error {
	return errors.Join(r.Registry.Init(opts...), r.Stop())
}

// Stop closes the connection that leases are renewed by; a later call opens
// another one. Nodes that are still registered leave when their leases end.
func (r *Registry) Stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == nil {
		return nil
	}
	c := r.client
	r.client = nil
	return c.Close()
}

// etcd returns the client. A caller does not wait for what an outage has made of
// the pause between two attempts to connect.
func (r *Registry) etcd() (*session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == nil {
		c, err := clientv3.New(config(r.Options()))
		if err != nil {
			return nil, err
		}
		r.client = &session{Client: c, turn: make(chan struct{}, 1)}
	}
	if conn := r.client.ActiveConnection(); conn.GetState() == connectivity.TransientFailure {
		conn.ResetConnectBackoff()
	}
	return r.client, nil
}

func (r *Registry) lease(key string) *lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.leases[key]
	if l == nil {
		l = &lease{}
		r.leases[key] = l
	}
	return l
}

// key is where go-micro's registry keeps a node.
func key(service, node string) string {
	dashed := strings.NewReplacer("/", "-")
	return path.Join("/micro/registry", dashed.Replace(service), dashed.Replace(node))
}

// Register writes the nodes, each on a lease of RegisterTTL, which is rounded up
// to seconds, and renews the leases of those that are there. Without a TTL a node
// stays until it is deregistered. It gives up after the registry's Timeout.
func (r *Registry) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	if len(s.Nodes) == 0 {
		return errors.New("require at least one node")
	}
	var o registry.RegisterOptions
	for _, opt := range opts {
		opt(&o)
	}
	return r.each(s, func(ctx context.Context, c *session, n *registry.Node) error {
		one := *s
		one.Nodes = []*registry.Node{n}
		value, err := json.Marshal(&one)
		if err != nil {
			return err
		}
		k := key(s.Name, n.Id)
		return r.lease(k).keep(ctx, c, k, string(value), int64(math.Ceil(o.TTL.Seconds())))
	})
}

// each calls f for all nodes and joins the errors.
func (r *Registry) each(s *registry.Service, f func(context.Context, *session, *registry.Node) error) error {
	c, err := r.etcd()
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	var errs []error
	for _, n := range s.Nodes {
		ctx, cancel := context.WithTimeout(context.Background(), r.timeout())
		if err := f(ctx, c, n); err != nil {
			errs = append(errs, fmt.Errorf("etcd: node %s: %w", n.Id, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

func (r *Registry) timeout() time.Duration {
	if t := r.Options().Timeout; t > 0 {
		return t
	}
	return defaultTimeout
}

// keep sees to it that the node is there as value says, on a lease that lives.
func (l *lease) keep(ctx context.Context, c *session, key, value string, ttl int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.hold(ctx, c, ttl); err != nil {
		return err
	}
	if l.value == value {
		// discovery-srv, for one, deletes a node that was silent for a while.
		if rsp, err := c.Get(ctx, key, clientv3.WithCountOnly(), clientv3.WithSerializable()); err != nil || rsp.Count > 0 {
			return err
		}
	}
	l.value = "" // it may be written whatever the answer says
	if _, err := c.Put(ctx, key, value, clientv3.WithLease(l.id)); err != nil {
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			l.id = 0
		}
		return err
	}
	l.value = value
	return nil
}

// hold renews the lease, or takes one when there is none of that TTL; the node
// moves there from the one before, which ends.
func (l *lease) hold(ctx context.Context, c *session, ttl int64) error {
	if l.id != 0 && l.ttl == ttl {
		if err := c.renew(ctx, l.id); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
	}
	if l.id != 0 || l.ttl != ttl {
		l.id, l.ttl, l.value = 0, ttl, ""
	}
	if ttl == 0 {
		return nil
	}
	rsp, err := c.Grant(ctx, ttl)
	if err != nil {
		return err
	}
	l.id, l.value = rsp.ID, ""
	return nil
}

// Deregister takes the nodes out of etcd, those that this Registry registered after it
// marked them as draining: whoever watches tells them from nodes whose leases ended. Those that this Registry registered go
// by their leases: what another process has registered under the same id since
// stays.
func (r *Registry) Deregister(s *registry.Service, _ ...registry.DeregisterOption) error {
	if len(s.Nodes) == 0 {
		return errors.New("require at least one node")
	}
	return r.each(s, func(ctx context.Context, c *session, n *registry.Node) error {
		k := key(s.Name, n.Id)
		l := r.lease(k)
		leaving := *s
		leaving.Nodes = []*registry.Node{regcache.Drain(n)}
		value, err := json.Marshal(&leaving)
		if err != nil {
			return err
		}
		if err := l.end(ctx, c, k, string(value)); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.leases[k] == l {
			delete(r.leases, k)
		}
		return nil
	})
}

func (l *lease) end(ctx context.Context, c *session, key, leaving string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.id == 0 {
		_, err := c.Delete(ctx, key)
		return err
	}
	if l.value != leaving {
		mark := c.Txn(ctx).If(clientv3.Compare(clientv3.LeaseValue(key), "=", l.id)).Then(clientv3.OpPut(key, leaving, clientv3.WithLease(l.id)))
		if _, err := mark.Commit(); err != nil {
			return err
		}
	}
	if _, err := c.Revoke(ctx, l.id); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return err
	}
	l.id, l.value = 0, ""
	return nil
}
