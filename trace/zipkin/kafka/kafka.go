// Package kafka sends spans to Zipkin by way of Kafka: Zipkin's Kafka
// collector reads them from a topic.
//
// It is a module of its own, so that nobody else gets a Kafka client along. It
// does not use the Kafka reporter of zipkin-go, which blocks its caller while
// the brokers are away and cannot tell what it lost.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/zipkin"
)

// DefaultBroker is where spans go without the option trace.Collectors.
const DefaultBroker = "127.0.0.1:9092"

// NewTrace returns a plugin that sends spans to Kafka, a list of them in each
// record, and waits until all in-sync replicas have it. Headers are those of
// package zipkin.
//
// trace.Collectors takes "host:port" of brokers, trace.Topic the topic, default
// zipkin.TraceTopic. trace.Client has no effect.
func NewTrace(opts ...trace.Option) trace.Trace {
	o := zipkin.NewOptions(append([]trace.Option{trace.Topic(zipkin.TraceTopic)}, opts...)...)
	return trace.NewPlugin("kafka", &exporter{options: o}, o)
}

type exporter struct {
	options trace.Options
	client  *kgo.Client
}

// Start implements trace.Exporter.
func (e *exporter) Start() error {
	brokers := e.options.Collectors
	if len(brokers) == 0 {
		brokers = []string{DefaultBroker}
	}
	check := option.Of("trace")
	for _, b := range brokers {
		host, port, err := net.SplitHostPort(b)
		check.That(err == nil && host != "" && port != "", "Collectors", "%q is not host:port", b)
	}
	if err := check.Err(); err != nil {
		return err
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(brokers...),
		kgo.DefaultProduceTopic(e.options.Topic),
		kgo.AllowAutoTopicCreation(),
		kgo.ProducerLinger(0), // the queue batches
		kgo.RecordDeliveryTimeout(e.options.CollectTimeout),
	}
	if e.options.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(e.options.TLS))
	}
	var err error
	e.client, err = kgo.NewClient(opts...)
	return err
}

// Stop implements trace.Exporter.
func (e *exporter) Stop() error {
	e.client.Close()
	return nil
}

// Export implements trace.Exporter.
func (e *exporter) Export(ctx context.Context, spans []*trace.Span) error {
	body, rejected, err := zipkin.Encode(spans)
	if err != nil {
		return err
	}
	if rejected.Count == len(spans) {
		return rejected
	}
	err = e.client.ProduceSync(ctx, &kgo.Record{Value: body}).FirstErr()
	switch {
	case errors.Is(err, kerr.MessageTooLarge): // they come in halves
		return fmt.Errorf("send spans to the topic %s: %w: %w", e.options.Topic, trace.ErrInvalid, err)
	case err != nil:
		return fmt.Errorf("send spans to the topic %s: %w", e.options.Topic, err)
	case rejected.Count > 0:
		return rejected
	}
	return nil
}
