package etcdreg

import (
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// session is a client that renews leases by one stream, one after the other. The
// client's own KeepAliveOnce opens a stream for each, which costs etcd the hash of
// a password where it asks for one, and tries without a pause while etcd is away.
type session struct {
	*clientv3.Client
	turn   chan struct{} // holds one token while a lease is renewed
	stream pb.Lease_LeaseKeepAliveClient
	cancel context.CancelFunc // of the stream
}

// renew extends a lease by its TTL.
func (s *session) renew(ctx context.Context, id clientv3.LeaseID) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	used := s.stream != nil
	ttl, err := s.ask(ctx, id)
	if err != nil && used && ctx.Err() == nil { // etcd may have been away since
		ttl, err = s.ask(ctx, id)
	}
	if err == nil && ttl <= 0 {
		return rpctypes.ErrLeaseNotFound
	}
	return clientv3.ContextError(ctx, err)
}

// ask sends one renewal and waits for its answer. A stream that failed is given up.
func (s *session) ask(ctx context.Context, id clientv3.LeaseID) (ttl int64, err error) {
	var streaming context.Context
	if s.stream == nil {
		streaming, s.cancel = context.WithCancel(s.Ctx())
	}
	defer context.AfterFunc(ctx, s.cancel)()
	defer func() {
		if err != nil {
			s.cancel()
			s.stream = nil
		}
	}()
	if s.stream == nil {
		if s.stream, err = pb.NewLeaseClient(s.ActiveConnection()).LeaseKeepAlive(streaming); err != nil {
			return 0, err
		}
	}
	if err := s.stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	} // the end of a stream is explained by what is received
	rsp, err := s.stream.Recv()
	if err != nil {
		return 0, err
	}
	return rsp.TTL, nil
}
