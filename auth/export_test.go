package auth

import (
	"time"

	pb "github.com/micro/go-platform/auth/proto"
)

// Now replaces the clock by which tokens are judged.
func Now(now func() time.Time) Option { return func(o *Options) { o.now = now } }

// AskEvery sets how often an Auth asks again for names that were refused.
func AskEvery(a Auth, d time.Duration) { a.(*platform).asks = d }

// ReportEvery sets how often an Auth reports what it decided.
func ReportEvery(a Auth, d time.Duration) { a.(*platform).reports = d }

// Offline returns an Auth that knows keys and rules and follows nobody.
func Offline(jwks []byte, rules ...*pb.Rule) Auth {
	p := newPlatform([]Option{Service("shop.orders")})
	if err := p.apply(&pb.WatchResponse{Reset_: true, Jwks: jwks, Rules: &pb.Rules{Rules: rules}}); err != nil {
		panic(err)
	}
	return p
}
