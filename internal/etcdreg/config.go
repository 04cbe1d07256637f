package etcdreg

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"os"
	"reflect"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/etcd"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// defaultTimeout is that of go-micro's registry.
const defaultTimeout = 5 * time.Second

// config is what go-micro's registry makes its client of. What fails is returned
// to the caller, so that the client itself logs nothing.
func config(o registry.Options) clientv3.Config {
	c := clientv3.Config{
		Endpoints: endpoints(o.Addrs), DialTimeout: cmp.Or(o.Timeout, defaultTimeout), Logger: zap.NewNop(),
		DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
	}
	c.Username, c.Password = credentials(o.Context)
	switch {
	case o.TLSConfig != nil:
		c.TLS = o.TLSConfig.Clone()
	case o.Secure:
		c.TLS = &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: os.Getenv("MICRO_TLS_INSECURE") == "true", //nolint:gosec // go-micro's switch
		}
	}
	return c
}

func endpoints(addresses []string) (all []string) {
	for _, a := range addresses {
		if a == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(a); err != nil {
			a = net.JoinHostPort(a, "2379")
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return []string{"127.0.0.1:2379"}
	}
	return all
}

// credentials returns what etcd.Auth left in the context of the options, under a
// key that only go-micro can name.
func credentials(ctx context.Context) (username, password string) {
	if ctx == nil {
		return "", ""
	}
	for _, key := range keys() {
		v := reflect.Indirect(reflect.ValueOf(ctx.Value(key)))
		if v.Kind() != reflect.Struct {
			continue
		}
		user, pass := v.FieldByName("Username"), v.FieldByName("Password")
		if user.Kind() == reflect.String && pass.Kind() == reflect.String {
			return user.String(), pass.String()
		}
	}
	return "", ""
}

// keys are those by which go-micro's registry looks for its options in a context.
func keys() []any {
	p := &probe{Context: context.Background()}
	r := etcd.NewEtcdRegistry(p.option)
	_ = r.Init(p.option) // without what the environment says, which hides a key
	return p.keys
}

// probe is a context that remembers what it was asked for. The configuration that
// it answers with cannot be used, so that no client is made, which could not be
// closed.
type probe struct {
	context.Context
	keys []any
}

func (p *probe) option(o *registry.Options) { o.Context = p }

// Value implements context.Context.
func (p *probe) Value(key any) any {
	p.keys = append(p.keys, key)
	return &zap.Config{Encoding: "none"}
}
