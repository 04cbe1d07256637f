// Package kafkatest proves the Kafka of internal/backend; it is a module of its own so that a Kafka client
// weighs on nobody else.
package kafkatest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(backend.StopAfter(m)) }

func connect(t *testing.T, s *backend.Server, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(s.Addr), kgo.AllowAutoTopicCreation())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func produce(t *testing.T, client *kgo.Client, topic, value string) {
	t.Helper()
	record := &kgo.Record{Topic: topic, Value: []byte(value)}
	if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func TestKafkaKeepsWhatItAcknowledged(t *testing.T) {
	s := backend.Kafka(t)
	produce(t, connect(t, s), "orders", "hello")
	s.Kill(t)
	s.Restart(t)
	consumer := connect(t, s, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	fetches := consumer.PollFetches(t.Context())
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if got := fetches.Records(); len(got) != 1 || string(got[0].Value) != "hello" {
		t.Fatalf("records = %v; want hello", got)
	}
}

func TestZipkinCollectsFromKafka(t *testing.T) {
	kafka := backend.Kafka(t)
	zipkin := backend.Zipkin(t, backend.FromKafka(kafka.Addr))
	const trace = "463ac35c9f6413ad"
	produce(t, connect(t, kafka), "zipkin", fmt.Sprintf(`[{"traceId":%q,"id":%[1]q,"name":"buy","timestamp":%d,
		"localEndpoint":{"serviceName":"shop"}}]`, trace, time.Now().UnixMicro()))
	deadline := time.Now().Add(time.Minute)
	for {
		spans, err := readTrace(t, zipkin.URL+"/api/v2/trace/"+trace)
		if err == nil && len(spans) == 1 && spans[0].Name == "buy" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the trace is %v, %v; want one span, buy", spans, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

type span struct{ Name string }

func readTrace(t *testing.T, url string) ([]span, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true // an idle connection would look like a leak
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s: %s", resp.Status, body)
	}
	var spans []span
	return spans, json.NewDecoder(bytes.NewReader(body)).Decode(&spans)
}
