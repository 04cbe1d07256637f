// Package etcdclient makes a client of etcd when it is needed first. One with a
// user and password asks the cluster for a token before it exists: neither a
// constructor nor a Start may wait for that, and a cluster that is away comes back.
package etcdclient

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/micro/go-platform/internal/option"
)

// User is the user that a client authenticates as. It travels in the
// Options.Context of a feature.
type User struct{ Name, Password string }

// WithUser returns ctx with a User in it.
func WithUser(ctx context.Context, name, password string) context.Context {
	return option.With(ctx, func(u *User) { *u = User{name, password} })
}

// Client makes a client of etcd when it is first needed.
type Client struct {
	config clientv3.Config
	cancel context.CancelFunc
	making singleflight.Group
	made   atomic.Pointer[clientv3.Client]
	mu     sync.Mutex // held while it is made
}

// New returns a client of the cluster at the servers, by default 127.0.0.1:2379,
// for the User in options. It does no I/O. The timeout bounds the request for a
// token.
func New(options context.Context, servers []string, c *tls.Config, timeout time.Duration) *Client {
	if len(servers) == 0 {
		servers = []string{"127.0.0.1:2379"}
	}
	u := option.From[User](options)
	ctx, cancel := context.WithCancel(context.Background())
	return &Client{cancel: cancel, config: clientv3.Config{
		Endpoints: servers, TLS: c, Logger: zap.NewNop(), Context: ctx, Username: u.Name, Password: u.Password,
		DialTimeout: timeout, DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
	}}
}

// Get returns the client. Callers that ask before there is one share the
// attempt to make it; each waits until its ctx ends.
func (c *Client) Get(ctx context.Context) (*clientv3.Client, error) {
	if made := c.made.Load(); made != nil {
		return made, nil
	}
	answer := c.making.DoChan("", func() (any, error) { return c.connect() })
	select {
	case r := <-answer:
		made, _ := r.Val.(*clientv3.Client) // nil with an error
		return made, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Forbidden reports whether an error of the client says that the user may not.
func Forbidden(err error) bool {
	return slices.ContainsFunc([]error{
		rpctypes.ErrAuthFailed, rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty, rpctypes.ErrInvalidAuthToken,
	}, func(refusal error) bool { return errors.Is(rpctypes.Error(err), refusal) })
}

func (c *Client) connect() (*clientv3.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if made := c.made.Load(); made != nil {
		return made, nil
	}
	if err := c.config.Context.Err(); err != nil {
		return nil, err
	}
	made, err := clientv3.New(c.config)
	if err == nil {
		c.made.Store(made)
	}
	return made, err
}

// Close ends the client and whatever waits for it.
func (c *Client) Close() error {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if made := c.made.Swap(nil); made != nil {
		return made.Close()
	}
	return nil
}
