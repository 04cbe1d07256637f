package auth_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/call"
)

// local calls a handler behind HandlerWrapper without sockets and returns the
// context that the handler saw.
func local(a auth.Auth, md metadata.Metadata, method string, opts ...auth.WrapperOption) (context.Context, error) {
	var seen context.Context
	h := auth.HandlerWrapper(a, opts...)(func(ctx context.Context, _ server.Request, _ any) error { seen = ctx; return nil })
	err := h(metadata.NewContext(context.Background(), md), serverRequest{endpoint: method}, nil)
	return seen, err
}

// serverRequest lies about its service and its method, as the rpc stack lets
// callers do.
type serverRequest struct {
	server.Request
	endpoint string
}

func (serverRequest) Service() string           { return "open.service" }
func (serverRequest) Method() string            { return "Open.Method" }
func (r serverRequest) Endpoint() string        { return r.endpoint }
func (serverRequest) Header() map[string]string { return nil }

// TestHeaderAttacks: none of these gets in.
func TestHeaderAttacks(t *testing.T) {
	w := newWorld(t)
	a := auth.Offline(w.issuer.Keys())
	good := w.issuer.Token("a", nil)
	big := strings.Repeat("x", 9<<10)
	many := metadata.Metadata{"authorization": "Bearer " + good}
	for n := range 100 {
		many[fmt.Sprint("k", n)] = ""
	}
	if _, err := local(a, metadata.Metadata{"Authorization": "Bearer " + good}, "M.X"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		md   metadata.Metadata
		code int32
	}{
		"no metadata":              {nil, 401},
		"two spellings, both good": {metadata.Metadata{"authorization": "Bearer " + good, "Authorization": "Bearer " + good}, 401},
		"two spellings, one empty": {metadata.Metadata{"AUTHORIZATION": "Bearer " + good, "authorization": ""}, 401},
		"two values joined":        {metadata.Metadata{"authorization": "Bearer " + good + ", Bearer " + good}, 401},
		"basic":                    {metadata.Metadata{"authorization": "Basic " + good}, 401},
		"no type":                  {metadata.Metadata{"authorization": good}, 401},
		"empty":                    {metadata.Metadata{"authorization": ""}, 401},
		"type alone":               {metadata.Metadata{"authorization": "Bearer "}, 401},
		"two spaces":               {metadata.Metadata{"authorization": "Bearer  " + good}, 401},
		"tab":                      {metadata.Metadata{"authorization": "Bearer\t" + good}, 401},
		"CR LF":                    {metadata.Metadata{"authorization": "Bearer " + good + "\r\nx-admin: 1"}, 401},
		"NUL":                      {metadata.Metadata{"authorization": "Bearer " + good + "\x00"}, 401},
		"other alphabet":           {metadata.Metadata{"authorization": "Вearer " + good}, 401},
		"1 MB":                     {metadata.Metadata{"authorization": "Bearer " + strings.Repeat("a", 1<<20)}, 401},
		"another key":              {metadata.Metadata{"proxy-authorization": "Bearer " + good, "x-authorization": "Bearer " + good}, 401},
		"oversize metadata":        {metadata.Metadata{"authorization": "Bearer " + good, "x": big}, 400},
		"too many keys":            {many, 400},
	} {
		if _, err := local(a, c.md, "M.X"); call.Code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSpoofedIdentityHeaders(t *testing.T) {
	w := newWorld(t)
	a := auth.Offline(w.issuer.Keys())
	md := metadata.Metadata{
		"authorization": "Bearer " + w.issuer.Token("real", nil), "Micro-From-Service": "admin", "X-Remote-User": "root", "x-keep": "1",
	}
	ctx, err := local(a, md, "M.X", auth.Identity("x-remote-user"))
	if err != nil {
		t.Fatal(err)
	}
	seen, _ := metadata.FromContext(ctx)
	if len(seen) != 2 || seen["micro-from-service"] != "real" || seen["x-keep"] != "1" {
		t.Errorf("the handler sees %v", seen)
	}
	if len(md) != 4 {
		t.Errorf("the caller's map was changed: %v", md)
	}
	if token, ok := auth.TokenFromContext(ctx); !ok || token.Account() != "real" {
		t.Errorf("token: %v", token)
	}
}

// The service and the method that a caller writes into a request decide nothing.
func TestRequestThatLies(t *testing.T) {
	w := newWorld(t)
	a := auth.Offline(w.issuer.Keys(), &pb.Rule{Id: "open", Effect: "allow", Services: []string{"open.service"}},
		&pb.Rule{Id: "method", Effect: "allow", Methods: []string{"Open.Method"}})
	md := metadata.Metadata{"authorization": "Bearer " + w.issuer.Token("a", nil)}
	if _, err := local(a, md, "Secret.Read"); call.Code(err) != 403 {
		t.Errorf("got %v", err)
	}
}

func TestOpenMethods(t *testing.T) {
	w := newWorld(t)
	a := auth.Offline(w.issuer.Keys(), &pb.Rule{Id: "none", Effect: "deny"})
	open := auth.Open("Health.Check", "Public.*")
	token := metadata.Metadata{"authorization": "Bearer " + w.issuer.Token("a", nil)}
	for method, code := range map[string]int32{"Health.Check": 0, "Public.X": 0, "Health.CheckX": 401, "Publicx": 401, "X.Public.X": 401} {
		if _, err := local(a, nil, method, open); call.Code(err) != code {
			t.Errorf("%s: %v", method, err)
		}
	}
	ctx, err := local(a, metadata.Metadata{"authorization": "Bearer bad", "micro-from-service": "admin"}, "Public.X", open)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := auth.TokenFromContext(ctx); ok {
		t.Error("a bad token is in the context")
	}
	if md, _ := metadata.FromContext(ctx); len(md) != 0 {
		t.Errorf("left: %v", md)
	}
	if _, err := local(a, token, "Secret.X", open); call.Code(err) != 403 {
		t.Errorf("secret: %v", err)
	}
}

// RFC 6750: letters, digits and seven others.
func TestCharactersOfTokens(t *testing.T) {
	for c := range 256 {
		_, ok := auth.Carrier{}.FromHeader(map[string]string{"authorization": "Bearer a" + string([]byte{byte(c)})})
		want := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._~+/=", rune(c)) && c < 128
		if ok != want {
			t.Errorf("%q: %v", rune(c), ok)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add("authorization", "Bearer abc")
	f.Add("Authorization", "bearer a.b.c")
	f.Add("AUTHORIZATION", "Bearer a\r\nb")
	f.Add("authorızation", "Bearer")
	f.Fuzz(func(t *testing.T, key, value string) {
		var c auth.Carrier
		token, ok := c.FromHeader(map[string]string{key: value})
		if !ok {
			return
		}
		if strings.ContainsAny(token.AccessToken+token.TokenType, "\r\n\x00 ,;\"") || token.AccessToken == "" || len(token.AccessToken) > auth.MaxToken {
			t.Fatalf("%q", token.AccessToken)
		}
		again, ok := c.FromHeader(c.NewHeader(map[string]string{"AuthorizatioN": "x", "other": "1"}, token))
		if !ok || again.AccessToken != token.AccessToken || again.TokenType != token.TokenType {
			t.Fatalf("%+v became %+v", token, again)
		}
	})
}
