package discovery_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/micro/go-platform/discovery"
	discoverysrv "github.com/micro/go-platform/discovery/internal/srv"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestTLS(t *testing.T) {
	ours, theirs := rpctest.NewAuthority(t), rpctest.NewAuthority(t)
	soon := time.Now().Add(time.Hour)
	mine := []tls.Certificate{ours.Pair("127.0.0.1", soon)}
	serving := func(ip string) string {
		return boot(t, backend.Address(t), discoverysrv.Settings{}, &tls.Config{
			Certificates: []tls.Certificate{ours.Pair(ip, soon)}, MinVersion: tls.VersionTLS12,
			ClientCAs: ours.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
		}).address
	}
	right, wrong := serving("127.0.0.1"), serving("127.0.0.2")
	for name, test := range map[string]struct {
		address string
		config  *tls.Config
		works   bool
	}{
		"right authority and certificate": {right, &tls.Config{RootCAs: ours.Pool(), Certificates: mine}, true},
		"wrong authority":                 {right, &tls.Config{RootCAs: theirs.Pool(), Certificates: mine}, false},
		"wrong name":                      {wrong, &tls.Config{RootCAs: ours.Pool(), Certificates: mine}, false},
		"no certificate":                  {right, &tls.Config{RootCAs: ours.Pool()}, false},
		"certificate of another authority": {right, &tls.Config{
			RootCAs: ours.Pool(), Certificates: []tls.Certificate{theirs.Pair("127.0.0.1", soon)},
		}, false},
		"plain text": {right, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if test.config != nil {
				test.config.MinVersion = tls.VersionTLS12
			}
			err := started(t, plugin(t, []string{test.address}, discovery.TLS(test.config))).Register(shop("1"))
			if test.works != (err == nil) || err != nil && !errors.Is(err, discovery.ErrUnavailable) {
				t.Errorf("register: %v", err)
			}
		})
	}
}
