package option_test

import (
	"context"
	"testing"

	"github.com/micro/go-platform/internal/option"
)

func TestContext(t *testing.T) {
	type user struct{ name, password string }
	type level int
	var none context.Context
	if u := option.From[user](none); u != (user{}) {
		t.Errorf("%+v of no context", u)
	}
	one := option.With(none, func(u *user) { u.name = "shop" })
	two := option.With(option.With(one, func(u *user) { u.password = "secret" }), func(l *level) { *l = 7 })
	if u := option.From[user](two); u != (user{"shop", "secret"}) || option.From[level](two) != 7 {
		t.Errorf("%+v, %d", u, option.From[level](two))
	}
	if u := option.From[user](one); u != (user{name: "shop"}) {
		t.Errorf("%+v: what was made of it changed the first", u)
	}
}
