package discovery_test

import (
	"fmt"
	"strings"
	"testing"

	"go-micro.dev/v6/registry"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	discoverysrv "github.com/micro/go-platform/discovery/internal/srv"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/rpctest"
)

// field returns the bytes of the first field of that number.
func field(t *testing.T, text []byte, number protowire.Number) []byte {
	t.Helper()
	for len(text) > 0 {
		n, kind, size := protowire.ConsumeTag(text)
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		text = text[size:]
		if n == number && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(text)
			return value
		}
		if size = protowire.ConsumeFieldValue(n, kind, text); size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		text = text[size:]
	}
	return nil
}

// The original's clients read the result of each message of a watch without
// asking whether there is one: signs of life go to those who read them.
func TestWatchersWhoKnowNoSignsOfLife(t *testing.T) {
	srv := boot(t, backend.Address(t), discoverysrv.Settings{})
	api := ask(t, srv.address)
	original, err := api.Watch(t.Context(), &pb.WatchRequest{Service: "shop"}, api.address)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := api.Watch(t.Context(), &pb.WatchRequest{Service: "shop", Signs: true}, api.address)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first one comes at once
		if sign, err := ours.Recv(); err != nil || sign.Result != nil || sign.Epoch == "" {
			t.Fatalf("%v, %v", sign, err)
		}
	}
	rpctest.Eventually(t, "both watch", func() bool { return api.status(t).Watchers == 2 })
	d := started(t, plugin(t, []string{srv.address}))
	register(t, d, shop("1"))
	if err := d.Deregister(shop("1")); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"create", "delete"} {
		got, err := original.Recv()
		if err != nil {
			t.Fatal(err)
		}
		text, err := proto.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		// WatchResponse{result=1}, Result{action=1 service=2}, Service{name=1 nodes=5}, Node{id=1}
		result := field(t, text, 1)
		service := field(t, result, 2)
		if string(field(t, result, 1)) != action || string(field(t, service, 1)) != "shop" || string(field(t, field(t, service, 5), 1)) != "1" {
			t.Errorf("%q, want a result of the action %s", text, action)
		}
	}
}

// A watch of more than a default client takes at once comes in several messages.
func TestWatchOfLargeServices(t *testing.T) {
	const services = 90
	srv := boot(t, backend.Address(t), discoverysrv.Settings{})
	api := ask(t, srv.address)
	d := started(t, plugin(t, []string{srv.address}))
	for i := range services {
		s := shop(fmt.Sprint(i))
		s.Name = fmt.Sprint("large", i)
		for j := range 55 { // of 64 KB that one may have
			s.Endpoints = append(s.Endpoints, &registry.Endpoint{Name: fmt.Sprint("e", j), Metadata: map[string]string{"k": strings.Repeat("x", 1000)}})
		}
		register(t, d, s)
	}
	w, err := api.Watch(t.Context(), &pb.WatchRequest{Snapshot: true, Batches: true}, api.address)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for len(found) < services {
		got, err := w.Recv()
		if err != nil {
			t.Fatalf("after %d services: %v", len(found), err)
		}
		if n := proto.Size(got); n > 4<<20-1024 {
			t.Errorf("a message of %d bytes", n)
		}
		for _, r := range got.Results {
			found[r.Service.Name] = true
		}
	}
}
