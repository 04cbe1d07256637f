package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"go-micro.dev/v6/broker"
	natsbroker "go-micro.dev/v6/broker/nats"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/registry/consul"
	"go-micro.dev/v6/registry/etcd"
	natsregistry "go-micro.dev/v6/registry/nats"

	"github.com/micro/go-platform/auth/certs"
	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/etcdreg"
	"github.com/micro/go-platform/internal/memreg"
)

const description = `Runs until it receives SIGTERM or SIGINT, then leaves the registry, finishes the calls in
flight and exits 0. Every flag can be given as an environment variable too. Other services
find this one at the registry; both must use the same one.`

type flags struct {
	registry, registryAddress string
	broker, brokerAddress     string
	brokerCA                  string
	address, advertise        string
	admin                     string
	databaseURL, dataDir      string
	databaseWait              time.Duration
	insecure                  bool
	credentials               Credentials
	authAddress               string
	trustRegistry             bool
	registerInterval          time.Duration
	logLevel                  string
	tlsCert, tlsKey           string
	tlsCA, tlsClientCA        string
}

func (f *flags) common(s Service) []cli.Flag {
	kind := "mdns"
	if s.Registry != nil {
		kind = platform // itself
	}
	text := func(name, value, usage string, to *string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, Usage: usage, Destination: to, EnvVars: []string{"MICRO_" + strings.ToUpper(name)}}
	}
	return []cli.Flag{
		text("registry", kind, "where services find each other: "+strings.Join(registries(), ", "), &f.registry),
		text("registry_address", "", "`HOST:PORT,...` of the registry; for platform, of the discovery-srvs", &f.registryAddress),
		&cli.DurationFlag{Name: "register_interval", Value: DefaultRegisterInterval, Usage: "how often the registration is renewed, 100ms to 10m; who misses three is gone", Destination: &f.registerInterval, EnvVars: []string{"MICRO_REGISTER_INTERVAL"}},
		text("broker", "memory", "what carries topics: memory, within this process; nats; http, which listens on a port of its own, where nobody is asked for a token: "+
			"for trusted networks", &f.broker),
		text("broker_address", "", "`HOST:PORT,...` of the broker", &f.brokerAddress),
		text("broker_ca", "", "PEM `FILE` with the authorities of the broker's certificate: topics go by TLS, with tls_cert where the broker asks for one", &f.brokerCA),
		text("server_address", "127.0.0.1:0", "`HOST:PORT` to serve on, port 0 for a free one", &f.address),
		text("server_advertise", "", "`HOST:PORT` to register when others reach the service at another address", &f.advertise),
		text("admin_address", "", "`HOST:PORT` of /healthz, /readyz and /metrics; none when empty", &f.admin),
		text("database_url", "", "`URL` of the database, sqlite:///path/file.db, mysql://user:password@host:3306/name or postgres://user:password@host:5432/name; a file in data_dir when empty", &f.databaseURL),
		&cli.DurationFlag{Name: "database_wait", Value: DefaultDatabaseWait, Usage: "how long a start waits for a database that is away; 0: not at all", Destination: &f.databaseWait, EnvVars: []string{"MICRO_DATABASE_WAIT"}},
		text("data_dir", defaultDataDir(), "`DIR` for the service's files", &f.dataDir),
		&cli.BoolFlag{Name: "insecure", Usage: "serve callers that are not authenticated", Destination: &f.insecure, EnvVars: []string{"MICRO_INSECURE"}},
		text("auth_address", "", "`HOST:PORT,...` of auth-srv, where the registry shall not be asked for it or wants a token first, as a discovery-srv", &f.authAddress),
		text("auth_id", "", "client `ID` of the service at auth-srv; when empty it enrols itself and remembers", &f.credentials.ID),
		text("auth_secret", "", "its `SECRET`, better given as MICRO_AUTH_SECRET: others see a command line", &f.credentials.Secret),
		text("auth_bootstrap", "", "`FILE` to enrol with, from auth-srv's data_dir; that of the own data_dir when empty", &f.credentials.Bootstrap),
		&cli.BoolFlag{Name: "auth_trust_registry", Usage: "send the service's secret to whoever is registered as auth-srv, when neither auth_bootstrap nor auth_address tells who that is", Destination: &f.trustRegistry, EnvVars: []string{"MICRO_AUTH_TRUST_REGISTRY"}},
		text("log_level", "info", "debug, info, warn or error", &f.logLevel),
		text("tls_cert", "", "PEM `FILE` with the certificate to serve with", &f.tlsCert),
		text("tls_key", "", "PEM `FILE` with its key", &f.tlsKey),
		text("tls_ca", "", "PEM `FILE` with the authorities of the servers that this service calls; the system's when empty", &f.tlsCA),
		text("tls_client_ca", "", "PEM `FILE` with the authorities of clients, which then must show a certificate", &f.tlsClientCA),
	}
}

func defaultDataDir() string {
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "go-platform")
	}
	return "data"
}

func (f *flags) config(s Service, stderr io.Writer) (Config, error) {
	out := &sink{to: stderr}
	log, err := newLogger(out, f.logLevel)
	if err != nil {
		return Config{}, err
	}
	files, err := f.certificates(log)
	if err != nil {
		return Config{}, err
	}
	authAddresses, err := addresses("auth_address", f.authAddress)
	if err != nil {
		return Config{}, err
	}
	if f.databaseWait < 0 {
		return Config{}, usageError{fmt.Errorf("--database_wait %v: want 0 or more", f.databaseWait)}
	}
	if f.registerInterval < minRegisterInterval || f.registerInterval > maxRegisterInterval {
		return Config{}, usageError{fmt.Errorf("--register_interval %v: want %v to %v", f.registerInterval, minRegisterInterval, maxRegisterInterval)}
	}
	reg, err := f.newRegistry(s, files, log)
	if err != nil {
		return Config{}, err
	}
	brk, err := f.newBroker(reg, files)
	if err != nil {
		return Config{}, err
	}
	if err := brk.Connect(); err != nil {
		return Config{}, clean.URLError(fmt.Errorf("connect to broker %s %s: %w", f.broker, f.brokerAddress, err))
	}
	c := Config{
		Registry: reg, Broker: brk,
		Address: f.address, Advertise: f.advertise, AdminAddr: f.admin,
		DatabaseURL: f.databaseURL, DatabaseWait: f.databaseWait, DataDir: f.dataDir,
		Insecure: f.insecure, Credentials: f.credentials, AuthAddresses: authAddresses, TrustRegistry: f.trustRegistry,
		RegisterInterval: f.registerInterval, Version: version(), Logger: log, lost: out,
	}
	if files != nil {
		c.TLS, c.DialTLS = files.Server(), files.Credentials()
	}
	return c, nil
}

// platform is the registry that discovery-srv is.
const platform = "platform"

// newRegistry returns the registry that the flags name. That of a service which
// is a registry is the service.
func (f *flags) newRegistry(s Service, files *certs.Certificates, log *slog.Logger) (registry.Registry, error) {
	switch {
	case f.registry != platform:
		return NewRegistry(f.registry, f.registryAddress)
	case s.Registry == nil:
		all, err := platformAddresses(f.registryAddress)
		if err != nil {
			return nil, err
		}
		return newPlatform(all, files, f.registerInterval, log), nil
	case f.registryAddress != "":
		return nil, usageError{errors.New("--registry_address: this service is the registry itself; others are named by --peers")}
	case !f.insecure && f.authAddress == "":
		return nil, usageError{errors.New("--auth_address: a registry that asks for tokens cannot look auth-srv up in itself; " +
			"give its address, or --insecure if everybody who reaches this service may use it")}
	}
	return s.Registry(), nil
}

func platformAddresses(value string) ([]string, error) {
	if value == "" {
		return nil, usageError{errors.New("--registry_address: --registry platform needs the address of a discovery-srv")}
	}
	return addresses("registry_address", value)
}

func registries() []string { return []string{"memory", "mdns", "consul", "etcd", "nats", platform} }

// NewRegistry returns the registry of --registry and --registry_address, which
// is empty for the registry's usual one. The examples use it too. One with a
// method Stop, as platform's, ends its background work there.
func NewRegistry(kind, addresses string) (registry.Registry, error) {
	var opts []registry.Option
	if addresses != "" {
		opts = append(opts, registry.Addrs(strings.Split(addresses, ",")...))
	}
	switch kind {
	case platform:
		return openPlatform(addresses)
	case "memory":
		return memreg.New(), nil
	case "mdns":
		return registry.NewMDNSRegistry(opts...), nil
	case "consul":
		return consul.NewConsulRegistry(append(opts, discovery.SharedConsul())...), nil
	case "etcd":
		return etcdreg.New(etcd.NewEtcdRegistry(opts...)), nil
	case "nats":
		return natsregistry.NewNatsRegistry(opts...), nil
	}
	return nil, choiceError("registry", kind, registries())
}

// openPlatform is for those who need no token: examples whose discovery-srv
// runs --insecure.
func openPlatform(value string) (registry.Registry, error) {
	all, err := platformAddresses(value)
	if err != nil {
		return nil, err
	}
	d := discovery.NewDiscovery(discovery.Addresses(all...))
	if err := d.Start(); err != nil {
		return nil, usageError{err}
	}
	return d, nil
}

func brokers() []string { return []string{"memory", "http", "nats"} }

func (f *flags) newBroker(reg registry.Registry, own *certs.Certificates) (broker.Broker, error) {
	opts := []broker.Option{broker.Registry(reg)}
	if f.brokerAddress != "" {
		opts = append(opts, broker.Addrs(strings.Split(f.brokerAddress, ",")...))
	}
	if f.brokerCA != "" {
		c, err := f.brokerTLS(own)
		if err != nil {
			return nil, err
		}
		opts = append(opts, broker.Secure(true), broker.TLSConfig(c))
	}
	switch f.broker {
	case "memory":
		return broker.NewMemoryBroker(opts...), nil
	case "http":
		return broker.NewHttpBroker(opts...), nil
	case "nats":
		return natsbroker.NewNatsBroker(opts...), nil
	}
	return nil, choiceError("broker", f.broker, brokers())
}
