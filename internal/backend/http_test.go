package backend_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// do keeps no connection, which goleak would find.
func do(t *testing.T, method, url, body string) (int, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Close = true
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	return resp.StatusCode, answer, err
}

func call(t *testing.T, method, url, body string, want int) {
	t.Helper()
	status, answer, err := do(t, method, url, body)
	if err != nil || status != want {
		t.Fatalf("%s %s = %d, %v; want %d; it says %s", method, url, status, err, want, answer)
	}
}

func getJSON(t *testing.T, url string, into any) error {
	t.Helper()
	status, answer, err := do(t, http.MethodGet, url, "")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("GET %s = %d: %s", url, status, answer)
	}
	return json.Unmarshal(answer, into)
}
