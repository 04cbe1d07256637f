package kv_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	pb "github.com/micro/go-platform/kv/proto"
)

// A member answers whatever another one sends, and keeps what it has.
func FuzzExchange(f *testing.F) {
	for _, req := range []*pb.ExchangeRequest{
		{},
		{Namespace: kv.DefaultNamespace, Ops: []*pb.Op{{}}},
		{Namespace: kv.DefaultNamespace, Ops: []*pb.Op{{Kind: pb.Op_READ, Record: &pb.Record{Key: []byte("key")}}}},
		{Namespace: kv.DefaultNamespace, Ops: []*pb.Op{{Kind: pb.Op_WRITE, Record: &pb.Record{Key: []byte("other"), TtlMs: -1}}}},
		{Namespace: kv.DefaultNamespace, View: 1 << 63, Ops: []*pb.Op{{Kind: 99, Record: &pb.Record{Key: make([]byte, 2000)}}}},
	} {
		data, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	k := newCluster(f, rpctest.GRPC).members(1)[0]
	if err := k.Put(&kv.Item{Key: "mine", Value: []byte("value")}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		req := &pb.ExchangeRequest{}
		if proto.Unmarshal(data, req) != nil {
			return
		}
		rsp, err := kv.Exchange(k.KV, req)
		if code := call.Code(err); err != nil && code != 400 && code != 403 {
			t.Fatalf("%v: %v", req, err)
		}
		if len(rsp.Results) > len(req.Ops) {
			t.Fatalf("%d results of %d operations", len(rsp.Results), len(req.Ops))
		}
		for _, op := range req.Ops {
			if string(op.GetRecord().GetKey()) == "mine" {
				return // a member may change what it owns
			}
		}
		if item, err := k.Get("mine"); err != nil || string(item.Value) != "value" {
			t.Fatalf("after %v: %+v, %v", req, item, err)
		}
	})
}
