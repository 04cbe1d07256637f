package memory_test

import (
	"errors"
	"testing"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/authtest"
	"github.com/micro/go-platform/auth/memory"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func fixture(_ testing.TB, opts ...auth.Option) *authtest.Fixture {
	a := memory.NewAuth(append([]auth.Option{auth.Service(authtest.Service)}, opts...)...)
	return &authtest.Fixture{
		Auth: a, Own: authtest.Service,
		Token: func(t testing.TB, account string, scopes ...string) string {
			token, err := a.Issue(memory.Account{ID: account, Scopes: scopes})
			if err != nil {
				t.Fatal(err)
			}
			return token.AccessToken
		},
		TokenFor: func(t testing.TB, account, audience string) string {
			token, err := a.IssueFor(memory.Account{ID: account}, audience)
			if err != nil {
				t.Fatal(err)
			}
			return token.AccessToken
		},
		SetRules: func(t testing.TB, rules ...auth.Rule) {
			if err := a.SetRules(rules...); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func TestMemory(t *testing.T)         { authtest.Run(t, fixture) }
func TestMemoryAudience(t *testing.T) { authtest.RunAudience(t, fixture) }
func TestMemoryPolicy(t *testing.T)   { authtest.RunPolicy(t, fixture) }

func TestBadArguments(t *testing.T) {
	a := memory.NewAuth(auth.Service("s"))
	if _, err := a.Issue(memory.Account{}); !errors.Is(err, auth.ErrInvalid) {
		t.Error(err)
	}
	if err := a.SetRules(auth.Rule{Id: "x"}); !errors.Is(err, auth.ErrInvalid) {
		t.Error(err)
	}
}
