package srv_test

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/discovery"
	"github.com/micro/go-platform/discovery/internal/srv"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
)

// strict refuses to remove one node, as Consul does for lack of a right.
type strict struct {
	registry.Registry
	id string
}

func (s strict) Deregister(v *registry.Service, opts ...registry.DeregisterOption) error {
	if v.Nodes[0].Id == s.id {
		return api.StatusError{Code: 403, Body: "Permission denied"}
	}
	return s.Registry.Deregister(v, opts...)
}

// A dead node that the other registry does not let go holds no other dead one back.
func TestARefusedNodeHoldsNobodyBack(t *testing.T) {
	r := memreg.New()
	ids := []string{"a", "b", "c"}
	for _, id := range ids {
		s := &registry.Service{Name: "shop", Version: "v1", Nodes: []*registry.Node{{Id: id, Address: "127.0.0.1:1",
			Metadata: map[string]string{discovery.LeaseKey: pb.Commitment(pb.Key("secret"))}}}}
		if err := r.Register(s, registry.RegisterTTL(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	stop, err := srv.Bury(strict{r, "a"}, rpctest.Logger(t), "shop", "secret", ids...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stop() }() // it tells of the one that was refused
	rpctest.Eventually(t, "the others are gone", func() bool {
		left, err := r.GetService("shop")
		return err == nil && len(left) == 1 && len(left[0].Nodes) == 1 && left[0].Nodes[0].Id == "a"
	})
}
