// Package consul is sync on Consul, the default plugin.
//
// Consul ends a session between its TTL and twice that after the last renewal
// (the first is documented, the second is what it does). A lock's session has
// three quarters of the lock's TTL: a holder that died frees it after 1.5 TTL at
// the latest. Consul takes sessions of 10 s, unless session_ttl_min of its
// agents says otherwise, to 24 h; shorter ones become 10 s: locks with a TTL below
// 13.4 s are as those with that, and free after 20 s at the latest.
//
// A session is bound to its TTL alone, not to the health of the agent's node,
// which may fail early. Consul's lock-delay does not come into play: it keeps a
// key from being locked again, and here every contender has a key of its own.
// What it is for, a holder that does not know yet, is covered by the holder's
// own clock and by the fencing token, the raft index of the holder's key.
//
// An agent that leaves its datacenter, as client agents do when they are told to
// stop (leave_on_terminate), takes its node and with it the sessions that were
// made through it: Consul frees what they hold at once. The session is watched,
// the holder hears of it within a round trip or two.
//
// An agent takes 200 connections from one host (http_max_conns_per_client). A
// Sync uses up to 16 for calls and 32 for waiting; waits beyond that look every
// two seconds.
//
// The environment of Consul's own clients (CONSUL_HTTP_TOKEN, CONSUL_CACERT, ...)
// is respected.
package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/micro/go-platform/internal/consulagents"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/sync"
	"github.com/micro/go-platform/sync/internal/queue"
)

// The bounds of a session unless the agent has others.
const (
	minSession = 10 * time.Second
	maxSession = 24 * time.Hour
)

// Token sets the ACL token. It needs to read and write the keys below the
// namespace, and sessions. The default is the token of the environment
// (CONSUL_HTTP_TOKEN).
func Token(acl string) sync.Option {
	return func(o *sync.Options) { o.Context = option.With(o.Context, func(t *token) { *t = token(acl) }) }
}

type token string

// NewSync returns a Sync on the agents at Nodes, by default 127.0.0.1:8500 or
// what the environment says. All must be of one datacenter. It takes the option
// Token.
func NewSync(opts ...sync.Option) sync.Sync {
	o := sync.NewOptions(opts...)
	s := newStore(o)
	return queue.New(s, o, s.open)
}

type store struct {
	options   sync.Options
	consul    *api.Client // set by open
	idle      func()      // closes idle connections
	namespace string
	waits     chan struct{} // those that have a connection
	least     atomic.Int64  // session that is taken, as far as is known
}

func newStore(o sync.Options) *store {
	return &store{options: o, namespace: o.Namespace, waits: make(chan struct{}, maxWaits)}
}

func (s *store) open() (err error) {
	s.consul, s.idle, err = consulagents.NewClient(s.options.Nodes, s.options.TLS, string(option.From[token](s.options.Context)))
	if err != nil {
		return fmt.Errorf("sync: %w: option Nodes, TLS or the environment: %w", sync.ErrInvalid, err)
	}
	return nil
}

func (s *store) String() string { return "consul" }

func (s *store) Forbidden(err error) bool { return consulagents.Forbidden(err) }

func (s *store) Close() error {
	s.idle()
	return nil
}

func (s *store) Grant(ctx context.Context, ttl time.Duration) (string, time.Duration, error) {
	session := min(max(ttl*3/4, time.Millisecond, time.Duration(s.least.Load())), maxSession)
	id, err := s.create(ctx, session)
	if err != nil && session < minSession && strings.Contains(err.Error(), "Invalid Session TTL") {
		s.least.Store(int64(minSession))
		session = minSession
		id, err = s.create(ctx, session)
	}
	return id, session, err
}

func (s *store) create(ctx context.Context, ttl time.Duration) (string, error) {
	id, _, err := s.consul.Session().CreateNoChecks(&api.SessionEntry{
		Name: "go-platform sync", TTL: ttl.String(), Behavior: api.SessionBehaviorDelete, LockDelay: time.Millisecond,
	}, (&api.WriteOptions{}).WithContext(ctx))
	return id, err
}

func (s *store) Renew(ctx context.Context, lease string) error {
	entry, _, err := s.consul.Session().Renew(lease, (&api.WriteOptions{}).WithContext(ctx))
	if err == nil && entry == nil {
		return queue.ErrGone
	}
	return err
}

// Watch asks for the session until it is gone. A query that comes back early
// with nothing new was at a server whose state was replaced: restored from a
// snapshot, or the server stopped.
func (s *store) Watch(ctx context.Context, lease string) error {
	for index := uint64(1); ; {
		o, cancel := s.blocking(ctx, index)
		began := time.Now()
		session, meta, err := s.consul.Session().Info(lease, o)
		cancel()
		if err != nil {
			return err
		}
		if session == nil || meta.LastIndex < index || meta.LastIndex == index && time.Since(began) < poll {
			return nil
		}
		index = meta.LastIndex
	}
}

// Bound reads all that is held: Consul does not keep by session what it has.
func (s *store) Bound(ctx context.Context, lease string) (bound []queue.Ref, _ error) {
	pairs, _, err := s.consul.KV().List(plain(queue.Root(s.namespace)), (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		if slash := strings.LastIndexByte(p.Key, '/'); p.Session == lease {
			bound = append(bound, queue.Ref{Queue: "/" + p.Key[:slash], Name: p.Key[slash+1:]})
		}
	}
	return bound, nil
}

func (s *store) Revoke(ctx context.Context, lease string) error {
	_, err := s.consul.Session().Destroy(lease, (&api.WriteOptions{}).WithContext(ctx))
	return err
}

// transact returns the errors of operations by their index.
func (s *store) transact(ctx context.Context, ops api.KVTxnOps) (api.KVPairs, api.TxnErrors, error) {
	ok, rsp, _, err := s.consul.KV().Txn(ops, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return nil, nil, err
	}
	if !ok && len(rsp.Errors) == 0 {
		return nil, nil, errors.New("transaction failed without a reason")
	}
	return rsp.Results, rsp.Errors, nil
}
