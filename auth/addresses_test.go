package auth_test

import (
	"errors"
	"testing"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/internal/rpctest"
)

// at returns where go.micro.srv.auth of the world is.
func (w *world) at() string {
	w.t.Helper()
	found, err := w.Registry.GetService(auth.ServiceName)
	if err != nil || len(found) != 1 {
		w.t.Fatal(found, err)
	}
	return found[0].Nodes[0].Address
}

func (w *world) addressed(opts ...auth.Option) auth.Auth {
	w.t.Helper()
	a := auth.NewAuth(append([]auth.Option{auth.Id("shop.orders"), auth.Secret("s3cret"), auth.Logger(w.Logger)}, opts...)...)
	w.t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			w.t.Error(err)
		}
	})
	if err := a.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.knows(a)
	return a
}

func TestAddressesNeedNoRegistry(t *testing.T) {
	w := newWorld(t).up()
	a := w.addressed(auth.Addresses(w.at()))
	if _, err := a.Token(); err != nil {
		t.Fatal(err)
	}
}

// One that is dead, or is something else, is passed over, and one that dies is left.
func TestAddressesStandInForEachOther(t *testing.T) {
	first, second := newWorld(t).up(), newWorld(t)
	second.srv.issuer, second.issuer = first.issuer, first.issuer
	second.up()
	liar := netcut.Liar(t, netcut.Lies()["Object"])
	a := first.addressed(auth.Addresses("127.0.0.1:1", liar, first.at(), second.at()))
	if second.srv.watches.Load() != 0 {
		t.Error("the second was asked while the first was there")
	}
	first.stop()
	rpctest.Eventually(t, "it follows the second", func() bool { return second.srv.watches.Load() == 1 })
	if _, err := a.Token(); err != nil {
		t.Fatal(err)
	}
}

// Whoever registers as go.micro.srv.auth is sent nothing.
func TestARegistryCannotLeadSecretsAway(t *testing.T) {
	w, thief := newWorld(t).up(), newWorld(t).up()
	forged := memreg.New()
	if err := forged.Register(&registry.Service{Name: auth.ServiceName, Nodes: []*registry.Node{{Id: "thief", Address: thief.at()}}}); err != nil {
		t.Fatal(err)
	}
	thief.Registry = forged
	w.addressed(auth.Client(thief.Client(rpctest.GRPC)), auth.Addresses(w.at()))
	if thief.srv.calls.Load()+thief.srv.watches.Load() != 0 {
		t.Error("the thief was called")
	}
}

func TestBadAddresses(t *testing.T) {
	for _, bad := range []string{"", "host", "host:", ":8002", "a:b:c"} {
		if err := auth.NewAuth(auth.Id("a"), auth.Secret("b"), auth.Addresses(bad)).Start(); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
