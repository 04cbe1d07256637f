// Package rpcerr is the one place where sentinel errors become go-micro's
// status codes and come back. Handlers return To's result, plugins pass what a
// call returned through From; features export the sentinels under their own
// names (kv.ErrNotFound = rpcerr.ErrNotFound).
package rpcerr

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/micro/go-platform/internal/call"
	merrors "go-micro.dev/v6/errors"
)

// The sentinels and their codes on the wire.
var (
	ErrInvalid         = errors.New("invalid argument")      // 400
	ErrUnauthenticated = errors.New("not authenticated")     // 401
	ErrForbidden       = errors.New("forbidden")             // 403
	ErrNotFound        = errors.New("not found")             // 404
	ErrExists          = errors.New("already exists")        // 409
	ErrConflict        = errors.New("conflict")              // 412
	ErrStale           = errors.New("stale fencing token")   // 412, a conflict too, told apart by its status
	ErrLimited         = errors.New("too many requests")     // 429
	ErrUnavailable     = errors.New("service not available") // 503
)

// staleStatus is what other errors have the name of their code for.
const staleStatus = "Stale Fencing Token"

func sentinel(code int32) error {
	switch code {
	case 400:
		return ErrInvalid
	case 401:
		return ErrUnauthenticated
	case 403:
		return ErrForbidden
	case 404:
		return ErrNotFound
	case 408:
		return context.DeadlineExceeded
	case 409:
		return ErrExists
	case 412:
		return ErrConflict
	case 429:
		return ErrLimited
	case 501, 502, 503: // 502 is not tried again: what is behind the service failed, and may have done its work
		return ErrUnavailable
	}
	return nil
}

// Invalid is the ErrInvalid of a field of a request, named as on the wire.
func Invalid(field, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", field, ErrInvalid, fmt.Sprintf(format, args...))
}

// To makes err what a handler of the service id may return: a go-micro error
// whose code tells the sentinel that err wraps, 500 for any other. It passes
// nil and go-micro errors through.
func To(id string, err error) error {
	var e *merrors.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	if errors.Is(err, ErrStale) {
		return &merrors.Error{Id: id, Code: 412, Detail: err.Error(), Status: staleStatus}
	}
	for _, code := range []int32{400, 401, 403, 404, 408, 409, 412, 429, 503} {
		if errors.Is(err, sentinel(code)) {
			return merrors.New(id, err.Error(), code)
		}
	}
	return merrors.New(id, err.Error(), 500)
}

// unencoded is part of the error of grpc for a request that it cannot encode,
// above all for a string that is not UTF-8: the request can never be sent.
const unencoded = "error while marshaling"

// From wraps what a call to a platform service returned with what was being
// done and with the sentinel of its code. When ctx has ended its error wins.
// A service that cannot be found or reached is ErrUnavailable.
func From(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	e := call.Parse(err)
	found := sentinel(e.Code)
	switch {
	case strings.Contains(e.Detail, unencoded):
		found = ErrInvalid
	case found == nil && e.Id == "go.micro.client":
		found = ErrUnavailable
	}
	if found == nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if e.Code == 412 && e.Status == staleStatus {
		found = fmt.Errorf("%w: %w", ErrConflict, ErrStale)
	}
	if e.Detail == "" || e.Detail == found.Error() {
		return fmt.Errorf("%s: %w", doing, found)
	}
	return fmt.Errorf("%s: %w: %s", doing, found, strings.TrimPrefix(e.Detail, found.Error()+": "))
}
