package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

// What is read of an answer, in bytes: a record with all that JSON makes of it,
// and as many as one search asks for.
const (
	maxDocument = 2 << 20
	maxAnswer   = driver.MaxChunk * maxDocument
)

// tries is how many times a request is sent that changes nothing, or did not
// leave here. With several servers each goes to another one.
const tries = 3

// statusError is an answer that is not a success.
type statusError struct {
	code   int
	kind   string
	reason string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("elasticsearch answered %d %s: %.200s", e.code, e.kind, e.reason)
}

func status(err error) int {
	var e *statusError
	if errors.As(err, &e) {
		return e.code
	}
	return 0
}

// noIndex reports whether the index is missing, not the document.
func noIndex(err error) bool {
	var e *statusError
	return errors.As(err, &e) && e.kind == "index_not_found_exception"
}

// do sends a request with a JSON body and decodes the answer into result.
func (s *store) do(ctx context.Context, doing, method, path string, body, result any) error {
	rsp, err := s.ask(ctx, doing, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = rsp.Body.Close() }() // read to its end, or given up
	data, err := io.ReadAll(http.MaxBytesReader(nil, rsp.Body, maxDocument))
	if err == nil && result != nil {
		err = json.Unmarshal(data, result)
	}
	return unread(ctx, doing, err)
}

// ask sends a request with a JSON body. The answer is a success, to be read and
// closed by the caller.
func (s *store) ask(ctx context.Context, doing, method, path string, body any) (*http.Response, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
	}
	rsp, err := s.perform(ctx, method, path, data)
	if err != nil {
		return nil, failed(ctx, doing, err)
	}
	if rsp.StatusCode/100 != 2 {
		defer func() { _ = rsp.Body.Close() }() // what could not be read of it is left out of the error
		reason, _ := io.ReadAll(io.LimitReader(rsp.Body, maxDocument))
		return nil, answered(doing, rsp.StatusCode, reason)
	}
	return rsp, nil
}

// perform sends a request until it is heard. A change is sent once: nobody could
// tell whether a second one met the first, or somebody else's.
func (s *store) perform(ctx context.Context, method, path string, data []byte) (*http.Response, error) {
	for try := 1; ; try++ {
		req, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		if data != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		rsp, err := s.client.Perform(req)
		if try == tries || ctx.Err() != nil || !again(method, rsp, err) {
			return rsp, err
		}
		if rsp != nil {
			_ = rsp.Body.Close() // of no interest
		}
	}
}

// again reports whether a request that ended so may be sent a second time.
func again(method string, rsp *http.Response, err error) bool {
	changes := method == http.MethodPut || method == http.MethodDelete
	var op *net.OpError
	if err != nil {
		return !changes || errors.As(err, &op) && op.Op == "dial"
	}
	return !changes && rsp.StatusCode >= 502 && rsp.StatusCode <= 504
}

// unread is the error of an answer that was not understood to its end.
func unread(ctx context.Context, doing string, err error) error {
	var long *http.MaxBytesError
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &long):
		return fmt.Errorf("%s: elasticsearch answered more than %d bytes", doing, long.Limit)
	case errors.As(err, &syntax) || errors.As(err, &kind):
		return fmt.Errorf("%s: elasticsearch answered no JSON: %w", doing, err)
	}
	return failed(ctx, doing, err)
}

// failed is the error of a request without an answer, or without its end.
func failed(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	return fmt.Errorf("%s: %w: %w", doing, driver.ErrUnavailable, err)
}

func answered(doing string, code int, data []byte) error {
	var body struct{ Error json.RawMessage }
	e := &statusError{code: code}
	if json.Unmarshal(data, &body) == nil {
		var detail struct{ Type, Reason string }
		if json.Unmarshal(body.Error, &detail) == nil {
			e.kind, e.reason = detail.Type, detail.Reason
		}
	}
	if code == 429 || code >= 502 {
		return fmt.Errorf("%s: %w: %w", doing, driver.ErrUnavailable, e)
	}
	return fmt.Errorf("%s: %w", doing, e)
}
