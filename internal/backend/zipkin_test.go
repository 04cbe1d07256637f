package backend_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/backend"
)

func TestZipkin(t *testing.T) {
	s := backend.Zipkin(t)
	const trace = "463ac35c9f6413ad"
	span := fmt.Sprintf(`[{"traceId":%q,"id":%[1]q,"name":"buy","kind":"CLIENT","timestamp":%d,"duration":1000,
		"localEndpoint":{"serviceName":"shop"}}]`, trace, time.Now().UnixMicro())
	call(t, http.MethodPost, s.URL+"/api/v2/spans", span, http.StatusAccepted)
	eventually(t, func() error {
		var spans []struct{ Name string }
		if err := getJSON(t, s.URL+"/api/v2/trace/"+trace, &spans); err != nil {
			return err
		}
		if len(spans) != 1 || spans[0].Name != "buy" {
			return fmt.Errorf("the trace is %v; want one span, buy", spans)
		}
		return nil
	})
}
