package config

import (
	"context"
	"crypto/tls"

	"go-micro.dev/v6/client"
)

// SourceOption changes a source that is being made. The packages of sources have
// more of their own.
type SourceOption func(*SourceOptions)

// SourceOptions are what the options of a source said.
type SourceOptions struct {
	Name     string
	Client   client.Client
	Hosts    []string
	TLS      *tls.Config
	Format   string
	Instance string
	Labels   map[string]string
	// Context carries options of one source only.
	Context context.Context
}

// SourceName is what the source reads: an id of config-srv, a file, a URL, a
// path in Consul or etcd.
func SourceName(name string) SourceOption { return func(o *SourceOptions) { o.Name = name } }

// SourceClient is what config-srv is asked with, client.DefaultClient unless
// given. Of a client that does not speak grpc its registry, broker and wrappers
// apply, and its selector, timeouts and TLS do not: see db.Client.
func SourceClient(c client.Client) SourceOption { return func(o *SourceOptions) { o.Client = c } }

// SourceHosts are the servers, "host:port": of config-srv instead of those in
// the registry, of Consul, of etcd.
func SourceHosts(hosts ...string) SourceOption {
	return func(o *SourceOptions) { o.Hosts = append([]string(nil), hosts...) }
}

// SourceTLS is used to reach the servers: config-srv, when the client is not a
// grpc client with settings of its own, Consul, etcd, and https.
func SourceTLS(c *tls.Config) SourceOption { return func(o *SourceOptions) { o.TLS = c } }

// SourceFormat is the format of what is read, "json", "yaml" or "toml", where
// the source cannot tell from a name.
func SourceFormat(format string) SourceOption { return func(o *SourceOptions) { o.Format = format } }

// SourceInstance names this instance to config-srv, as it is registered: service
// name, "-", server id. Gradual rollouts go by it; an instance without a name is
// never among the first.
func SourceInstance(id string) SourceOption { return func(o *SourceOptions) { o.Instance = id } }

// SourceLabels are what gradual rollouts may choose this instance by.
func SourceLabels(labels map[string]string) SourceOption {
	return func(o *SourceOptions) {
		o.Labels = make(map[string]string, len(labels))
		for k, v := range labels {
			o.Labels[k] = v
		}
	}
}
