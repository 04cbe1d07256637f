package srv_test

import (
	"net/url"
	"testing"

	authsrv "github.com/micro/go-platform/auth/internal/srv"
	pb "github.com/micro/go-platform/auth/proto"
)

// What a service's own token costs the server, over real sockets, once the
// secret was proven.
func BenchmarkTokenRPC(b *testing.B) {
	e := start(b)
	e.token(authsrv.AdminID, adminSecret)
	req := &pb.TokenRequest{GrantType: "client_credentials", ClientId: authsrv.AdminID, ClientSecret: adminSecret}
	ctx := e.as("")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.oauth.Token(ctx, req, e.here()...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTokenHTTP(b *testing.B) {
	e := start(b)
	form := url.Values{"grant_type": {"client_credentials"}}
	b.ReportAllocs()
	for b.Loop() {
		if a := e.post("/oauth2/token", form, authsrv.AdminID, adminSecret); a.status != 200 {
			b.Fatal(a.body)
		}
	}
}

func BenchmarkIntrospect(b *testing.B) {
	e := start(b)
	token := e.token(authsrv.AdminID, adminSecret)
	ctx := e.as(token)
	b.ReportAllocs()
	for b.Loop() {
		if rsp, err := e.oauth.Introspect(ctx, &pb.IntrospectRequest{AccessToken: token}, e.here()...); err != nil || !rsp.Active {
			b.Fatal(err)
		}
	}
}
