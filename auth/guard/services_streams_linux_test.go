package guard_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/micro/go-platform/auth/guard"
	"github.com/micro/go-platform/internal/rpctest"
)

// One low account cannot have all the streams of a service.
func TestStreamsOfTheServices(t *testing.T) {
	const noLimit = "off" // so that streams are what is refused, and not bytes
	p := bootAuth(t, noLimit)
	for name, method := range map[string]string{
		"auth": "Policy/Watch", "config": "Config/Watch", "discovery": "Registry/Watch",
		"event": "Event/Consume", "monitor": "Monitor/Watch", "router": "Router/SelectStream",
	} {
		t.Run(name, func(t *testing.T) {
			at := p.auth
			if name != "auth" {
				args := p.args
				if name != "discovery" {
					args = append([]string{"--registry", "memory"}, args...)
				}
				at = bootWith(t, noLimit, name, args...)
			}
			const most, more = 1000, 20
			ctx, end := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+tokenFor(t, p.low, "go.micro.srv."+name)))
			defer end()
			var refused, others atomic.Int64
			path := "/go.platform." + name + "." + method
			for range 2 { // grpc allows a thousand on a connection
				cc, err := grpc.NewClient(at.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = cc.Close() }() // the test is over
				for range (most + more) / 2 {
					s, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, path)
					if err != nil {
						t.Fatal(err)
					}
					go func() {
						if err := s.RecvMsg(&emptypb.Empty{}); status.Code(err) == codes.ResourceExhausted || err != nil && strings.Contains(err.Error(), "429") {
							refused.Add(1)
						} else if ctx.Err() == nil {
							others.Add(1)
						}
					}()
				}
			}
			rpctest.Eventually(t, "what is too much is refused", func() bool { return refused.Load()+others.Load() >= more })
			if refused.Load() > more+5 || others.Load() > 0 { // our own plugin has streams too
				t.Errorf("of %d streams %d were refused, %d ended otherwise", most+more, refused.Load(), others.Load())
			}
			if body := metricsOf(t, at); !strings.Contains(body, `_srv_refused_total{reason="`+guard.Streams+`"} `) {
				t.Errorf("its metrics do not tell of %q", guard.Streams)
			}
		})
	}
}
