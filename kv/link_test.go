package kv_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/server"
	mgrpc "go-micro.dev/v6/server/grpc"

	"github.com/micro/go-platform/internal/netcut"
	"github.com/micro/go-platform/internal/rpctest"
	"github.com/micro/go-platform/kv"
	pb "github.com/micro/go-platform/kv/proto"
)

// seen counts what reaches the handlers of a server, by method.
type seen struct {
	link, exchange atomic.Int64
	refuse         error // links
}

func (s *seen) wrap(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) error {
		switch req.Method() {
		case "KV.Link":
			s.link.Add(1)
			if s.refuse != nil {
				e := *merrors.FromError(s.refuse) // go-micro writes into what it gets
				return &e
			}
		case "KV.Exchange":
			s.exchange.Add(1)
		}
		return next(ctx, req, rsp)
	}
}

// linked returns a member that counts in s, and a client of it. edit is done
// before they start.
func (c *cluster) linked(s *seen, wrap client.Wrapper, edit func(k kv.KV)) kv.KV {
	c.tb.Helper()
	start := func(srv server.Server, serve bool, wrappers ...client.Wrapper) kv.KV {
		k := kv.NewKV(append([]kv.Option{kv.Server(srv), kv.Client(c.net.Client(rpctest.GRPC, wrappers...)), kv.Logger(c.net.Logger)}, c.opts...)...)
		if edit != nil {
			edit(k)
		}
		if err := k.Start(); err != nil {
			c.tb.Fatal(err)
		}
		stop := func() {}
		if serve {
			stop = c.net.Start(srv)
		}
		c.tb.Cleanup(func() {
			if err := k.Stop(); err != nil {
				c.tb.Error(err)
			}
			stop()
		})
		return k
	}
	first := start(c.net.Server(rpctest.GRPC, "shop", server.WrapHandler(s.wrap)), true)
	kv.AwaitJoined(c.tb, first) // else the client may be alone for a moment
	if wrap != nil {
		return start(c.net.Server(rpctest.GRPC, "shop"), false, wrap)
	}
	return start(c.net.Server(rpctest.GRPC, "shop"), false)
}

func awaitLink(tb testing.TB, k kv.KV) {
	tb.Helper()
	rpctest.Eventually(tb, "a link", func() bool {
		_, err := k.Get("nothing")
		return errors.Is(err, kv.ErrNotFound) && kv.Linked(k) > 0
	})
}

func TestOperationsShareOneLink(t *testing.T) {
	s := &seen{}
	k := newCluster(t, rpctest.GRPC).linked(s, nil, nil)
	awaitLink(t, k)
	calls := s.exchange.Load()
	put(t, k, 200)
	have(t, k, 200)
	// A busy machine gives up a link or two that do not answer in time.
	if links := s.link.Load(); links > 5 || s.exchange.Load()-calls > 20*(links-1) {
		t.Errorf("%d links, %d calls beside them", links, s.exchange.Load()-calls)
	}
}

// Where nobody may open a link, by a rule or a wrapper, each request is a call.
func TestWithoutLinks(t *testing.T) {
	for _, code := range []int32{501, 403} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s := &seen{refuse: merrors.New("shop", "told to", code)}
			k := newCluster(t, rpctest.GRPC).linked(s, nil, nil)
			put(t, k, 200)
			have(t, k, 200)
			if s.link.Load() == 0 || s.link.Load() > 50 || s.exchange.Load() < 400 {
				t.Errorf("%d links tried, %d calls", s.link.Load(), s.exchange.Load())
			}
		})
	}
}

// Who may call is judged at the opening, so that links end; nobody notices.
func TestLinksAreRenewed(t *testing.T) {
	s := &seen{}
	k := newCluster(t, rpctest.GRPC).linked(s, nil, func(k kv.KV) { kv.LinkAge(k, 100*time.Millisecond) })
	awaitLink(t, k)
	var wg sync.WaitGroup
	var failed atomic.Int64
	for id := range 4 {
		wg.Go(func() {
			for s.link.Load() < 6 {
				if err := k.Put(&kv.Item{Key: fmt.Sprint("k", id)}); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d calls failed", failed.Load())
	}
	// One that nobody uses is not kept open.
	rpctest.Eventually(t, "the link ends", func() bool { return kv.Linked(k) == 0 })
}

// What does not fit in an answer is asked for again.
func TestLargeAnswersOfALink(t *testing.T) {
	s := &seen{}
	k := newCluster(t, rpctest.GRPC).linked(s, nil, nil)
	var keys []string
	for i := range 30 {
		keys = append(keys, fmt.Sprint("k", i))
		if err := k.Put(&kv.Item{Key: keys[i], Value: make([]byte, 300_000)}); err != nil {
			t.Fatal(err)
		}
	}
	awaitLink(t, k)
	calls := s.exchange.Load()
	items, err := k.(kv.Many).GetMany(keys)
	if err != nil || len(items) != len(keys) {
		t.Fatalf("%d items, %v", len(items), err)
	}
	if s.exchange.Load() != calls {
		t.Errorf("%d calls beside the link", s.exchange.Load()-calls)
	}
}

// A member that is cut off stalls neither calls to others nor those that come
// when it is back.
func TestAStalledLink(t *testing.T) {
	c := newCluster(t, rpctest.GRPC, kv.Suspicion(2*time.Second))
	c.members(2)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	link := netcut.New(t, l.Addr().String())
	c.memberOn(c.net.Server(rpctest.GRPC, "shop", mgrpc.Listener(l), server.Advertise(link.Addr)))
	k := c.member()
	kv.AwaitStable(t, k.KV, 4)
	put(t, k, 50)
	rpctest.Eventually(t, "links", func() bool { have(t, k, 50); return kv.Linked(k.KV) == 3 })
	link.Cut()
	put(t, k, 50)
	have(t, k, 50)
	rpctest.Eventually(t, "the stalled link is given up", func() bool { return kv.Linked(k.KV) < 3 })
	link.Heal()
	rpctest.Eventually(t, "a link to all that are left", func() bool { put(t, k, 20); return kv.Linked(k.KV) == 3 })
	have(t, k, 50)
}

// twisted gives answers that a member never would.
type twisted struct {
	client.Client
	twist func(rsp *pb.ExchangeResponse)
}

type twistedStream struct {
	client.Stream
	twist func(rsp *pb.ExchangeResponse)
}

func (c *twisted) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	s, err := c.Client.Stream(ctx, req, opts...)
	if err != nil || !strings.HasSuffix(req.Endpoint(), "Link") {
		return s, err
	}
	return &twistedStream{s, c.twist}, nil
}

func (s *twistedStream) Recv(m any) error {
	err := s.Stream.Recv(m)
	if rsp, ok := m.(*pb.ExchangeResponse); ok && err == nil {
		s.twist(rsp)
	}
	return err
}

func TestBadAnswersEndTheLink(t *testing.T) {
	for name, twist := range map[string]func(rsp *pb.ExchangeResponse){
		"no results":   func(rsp *pb.ExchangeResponse) { rsp.Results = nil },
		"many results": func(rsp *pb.ExchangeResponse) { rsp.Results = append(rsp.Results, rsp.Results...) },
		"out of turn":  func(rsp *pb.ExchangeResponse) { rsp.Id++ },
		"error":        func(rsp *pb.ExchangeResponse) { rsp.Code, rsp.Error = 500, "told to" },
	} {
		t.Run(name, func(t *testing.T) {
			var bad atomic.Int64
			wrap := func(c client.Client) client.Client {
				return &twisted{c, func(rsp *pb.ExchangeResponse) {
					if bad.Add(1)%3 == 0 { // the first lets the link in
						twist(rsp)
					}
				}}
			}
			k := newCluster(t, rpctest.GRPC).linked(&seen{}, wrap, nil)
			awaitLink(t, k)
			put(t, k, 30)
			have(t, k, 30)
			if bad.Load() < 3 {
				t.Error("the link was not used")
			}
		})
	}
}
