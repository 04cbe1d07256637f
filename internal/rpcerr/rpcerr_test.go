package rpcerr_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/rpcerr"
	merrors "go-micro.dev/v6/errors"
)

func TestSentinelsSurviveTheWire(t *testing.T) {
	for code, want := range map[int32]error{
		400: rpcerr.ErrInvalid, 401: rpcerr.ErrUnauthenticated, 403: rpcerr.ErrForbidden,
		404: rpcerr.ErrNotFound, 408: context.DeadlineExceeded, 409: rpcerr.ErrExists,
		412: rpcerr.ErrConflict, 429: rpcerr.ErrLimited, 503: rpcerr.ErrUnavailable,
	} {
		sent := rpcerr.To("go.micro.srv.x", fmt.Errorf("key %q: %w", "a", want))
		var e *merrors.Error
		if !errors.As(sent, &e) || e.Code != code {
			t.Errorf("%v became %v, want code %d", want, sent, code)
			continue
		}
		asString := errors.New(sent.Error()) // the rpc stack's form
		for _, received := range []error{sent, asString} {
			got := rpcerr.From(context.Background(), "kv: get", received)
			if !errors.Is(got, want) || !strings.HasPrefix(got.Error(), "kv: get: ") || !strings.Contains(got.Error(), `key "a"`) {
				t.Errorf("code %d came back as %v", code, got)
			}
		}
	}
}

// A stale token is told from another conflict, by those who know it.
func TestStaleSurvivesTheWire(t *testing.T) {
	sent := rpcerr.To("go.micro.srv.x", fmt.Errorf("%w: 5, have seen 7", rpcerr.ErrStale))
	for _, received := range []error{sent, errors.New(sent.Error())} {
		got := rpcerr.From(context.Background(), "db: update", received)
		if !errors.Is(got, rpcerr.ErrStale) || !errors.Is(got, rpcerr.ErrConflict) || !strings.Contains(got.Error(), "5, have seen 7") {
			t.Errorf("came back as %v", got)
		}
	}
	if got := rpcerr.From(context.Background(), "x", rpcerr.To("x", rpcerr.ErrConflict)); errors.Is(got, rpcerr.ErrStale) {
		t.Errorf("a conflict came back as %v", got)
	}
}

func TestUnknownErrorsAre500(t *testing.T) {
	var e *merrors.Error
	if !errors.As(rpcerr.To("x", errors.New("disk on fire")), &e) || e.Code != 500 {
		t.Fatalf("got %v", e)
	}
	if rpcerr.To("x", nil) != nil || rpcerr.From(context.Background(), "x", nil) != nil {
		t.Fatal("nil is not nil")
	}
}

func TestContextErrorsWin(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := rpcerr.From(ctx, "kv: get", merrors.Timeout("go.micro.client", "context canceled"))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestAServiceThatIsNotThere(t *testing.T) {
	err := rpcerr.From(context.Background(), "kv: get", merrors.InternalServerError("go.micro.client", "service x: not found"))
	if !errors.Is(err, rpcerr.ErrUnavailable) || errors.Is(err, rpcerr.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
}
