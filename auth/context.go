package auth

import "context"

type (
	authKey  struct{}
	tokenKey struct{}
)

// NewContext returns a context that carries a.
func NewContext(ctx context.Context, a Auth) context.Context {
	return context.WithValue(ctx, authKey{}, a)
}

// FromContext returns the Auth that NewContext put in.
func FromContext(ctx context.Context) (Auth, bool) {
	a, ok := ctx.Value(authKey{}).(Auth)
	return a, ok
}

// WithToken returns a context that carries a verified token: a handler behind
// HandlerWrapper finds its caller's there.
func WithToken(ctx context.Context, t *Token) context.Context {
	return context.WithValue(ctx, tokenKey{}, t)
}

// TokenFromContext returns the verified token of the caller. It is read only.
func TokenFromContext(ctx context.Context) (*Token, bool) {
	t, ok := ctx.Value(tokenKey{}).(*Token)
	return t, ok && t != nil
}
