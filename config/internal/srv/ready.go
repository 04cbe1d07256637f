package srv

import (
	"context"
	"errors"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

// probeInterval is how often writing a store that failed is tried again.
const probeInterval = time.Second

// wrote notes whether the store can be written, and logs when that changes. Errors
// of the request do not count.
func (s *state) wrote(err error) {
	for _, theirs := range []error{
		rpcerr.ErrInvalid, rpcerr.ErrConflict, rpcerr.ErrNotFound, rpcerr.ErrExists, rpcerr.ErrLimited, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, theirs) {
			return
		}
	}
	was := s.trouble.Load()
	switch {
	case err == nil && was != nil:
		s.trouble.Store(nil)
		s.log.Info("configs can be written again")
	case err != nil:
		s.trouble.Store(&err)
		if was == nil {
			s.log.Error("configs cannot be written", "error", err)
		}
	}
}

// ready returns why the store cannot be written.
func (s *state) ready(context.Context) error {
	if failed := s.trouble.Load(); failed != nil {
		return *failed
	}
	return nil
}

// probe is the loop that tries a store that failed, so that readiness returns
// without a client's write.
func (s *state) probe(ctx context.Context) {
	lifecycle.Every(ctx, probeInterval, func() {
		if s.trouble.Load() == nil {
			return
		}
		if err := s.store.Touch(ctx); ctx.Err() == nil {
			s.wrote(err)
		}
	})
}
