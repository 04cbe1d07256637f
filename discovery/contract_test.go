package discovery_test

import (
	"testing"

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
