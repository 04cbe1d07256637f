package daemon_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

// keep writes a file of the test's own.
func keep(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A service speaks TLS to its broker, trusts only the authority it was told, and
// shows its own certificate to a broker that wants one.
func TestSecureBroker(t *testing.T) {
	ours, theirs := rpctest.NewAuthority(t), rpctest.NewAuthority(t)
	soon := time.Now().Add(time.Hour)
	sign := func(a *rpctest.Authority) (cert, key string) {
		c, k := a.Sign("127.0.0.1", soon)
		return keep(t, "cert.pem", c), keep(t, "key.pem", k)
	}
	ca, stranger := keep(t, "ca.pem", ours.PEM()), keep(t, "ca.pem", theirs.PEM())
	cert, key := sign(ours)
	open := backend.NATS(t, backend.Args("--tls", "--tlscert", cert, "--tlskey", key)).Addr
	strict := backend.NATS(t, backend.Args("--tlsverify", "--tlscert", cert, "--tlskey", key, "--tlscacert", ca)).Addr
	mine, mineKey := sign(ours)
	foreign, foreignKey := sign(theirs)
	own := []string{"--tls_cert", mine, "--tls_key", mineKey}
	nats := func(addr, ca string, more ...string) []string {
		return append([]string{"--broker", "nats", "--broker_address", addr, "--broker_ca", ca}, more...)
	}
	for name, c := range map[string]struct {
		args []string
		env  string
		want string // of what is said on standard error; empty: it serves
	}{
		"nats":                                 {args: nats(open, ca)},
		"nats of another authority":            {args: nats(open, stranger), want: "connect to broker nats"},
		"nats without the authority":           {args: []string{"--broker", "nats", "--broker_address", open}, want: "certificate signed by unknown authority"},
		"nats of an authority of the system's": {args: []string{"--broker", "nats", "--broker_address", open}, env: "SSL_CERT_FILE=" + ca},
		"nats with own certificate":            {args: nats(strict, ca, own...)},
		"nats without own certificate":         {args: nats(strict, ca), want: "connect to broker nats"},
		"nats with a foreign one":              {args: nats(strict, ca, "--tls_cert", foreign, "--tls_key", foreignKey), want: "connect to broker nats"},
		"http":                                 {args: append([]string{"--broker", "http", "--broker_address", "127.0.0.1:0", "--broker_ca", ca}, own...)},
		"http without a certificate":           {args: []string{"--broker", "http", "--broker_ca", ca}, want: "needs --tls_cert and --tls_key"},
		"memory":                               {args: []string{"--broker", "memory", "--broker_ca", ca}, want: "the memory broker has no connections"},
		"authorities that are not there":       {args: nats(open, ca+".no"), want: "--broker_ca: open "},
		"authorities that are none":            {args: nats(open, key), want: "--broker_ca: no certificate in "},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], append([]string{"--registry", "memory", "--insecure", "--data_dir", t.TempDir()}, c.args...)...)
			cmd.Env = append(os.Environ(), asMain+"=1", c.env)
			if c.want == "" {
				p := rpctest.StartProcess(t, cmd)
				t.Cleanup(p.Kill)
				p.Serving()
				if err := p.Terminate(); err != nil {
					t.Fatalf("after SIGTERM: %v\n%s", err, &p.Output)
				}
				return
			}
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%v, want %q in %s", err, c.want, out)
			}
		})
	}
}
