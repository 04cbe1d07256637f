package etcdreg

import (
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/etcd"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func configured(opts ...registry.Option) clientv3.Config {
	var o registry.Options
	for _, opt := range opts {
		opt(&o)
	}
	return config(o)
}

func TestConfig(t *testing.T) {
	c := configured()
	if !slices.Equal(c.Endpoints, []string{"127.0.0.1:2379"}) || c.DialTimeout != defaultTimeout || c.TLS != nil || c.Username+c.Password != "" {
		t.Errorf("by default %+v", c)
	}
	c = configured(registry.Addrs("one", "", "two:1", "[::1]:2"), registry.Timeout(time.Second), etcd.Auth("u", "p"))
	if !slices.Equal(c.Endpoints, []string{"one:2379", "two:1", "[::1]:2"}) || c.DialTimeout != time.Second || c.Username != "u" || c.Password != "p" {
		t.Errorf("%+v", c)
	}
	if c := configured(registry.TLSConfig(&tls.Config{ServerName: "etcd"})); c.TLS == nil || c.TLS.ServerName != "etcd" {
		t.Errorf("with TLS %+v", c.TLS)
	}
}

// Secure verifies unless go-micro is told not to.
func TestConfigSecure(t *testing.T) {
	for value, insecure := range map[string]bool{"": false, "false": false, "true": true} {
		t.Setenv("MICRO_TLS_INSECURE", value)
		if c := configured(registry.Secure(true)); c.TLS == nil || c.TLS.InsecureSkipVerify != insecure {
			t.Errorf("MICRO_TLS_INSECURE=%s: %+v", value, c.TLS)
		}
	}
}

// The environment's password is an option to go-micro's registry, and hides one
// of the keys from the probe.
func TestKeysWhateverTheEnvironmentSays(t *testing.T) {
	t.Setenv("ETCD_USERNAME", "env")
	t.Setenv("ETCD_PASSWORD", "env")
	distinct := make(map[any]bool)
	for _, key := range keys() {
		distinct[key] = true
	}
	if len(distinct) < 2 {
		t.Errorf("keys %v", distinct)
	}
}
