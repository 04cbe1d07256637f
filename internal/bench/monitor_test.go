package bench

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/monitor"
	"github.com/micro/go-platform/monitor/discard"
)

type monitorRequest struct{ service, method string }

func (r *monitorRequest) Service() string { return r.service }
func (r *monitorRequest) Method() string  { return r.method }

func newMonitor() monitor.Monitor {
	return discard.NewMonitor(monitor.Server(server.NewServer(server.Name("bench"), server.Id("1"))))
}

func newVec() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "calls"}, []string{"service", "method", "status"})
}

// BenchmarkMonitor compares one measured call: ours finds the endpoint and
// keeps a histogram with an error of one percent; prometheus finds its series
// by the same names and keeps eleven buckets. Curried is prometheus without
// the look-up, the vendor's advice where names are known beforehand.
func BenchmarkMonitor(b *testing.B) {
	const d = 3 * time.Millisecond
	b.Run("RecordStat/ours", func(b *testing.B) {
		m, r := newMonitor(), &monitorRequest{"stock", "Stock.Get"}
		b.ReportAllocs()
		for b.Loop() {
			m.RecordStat(r, d, nil)
		}
	})
	b.Run("RecordStat/prometheus", func(b *testing.B) {
		v, r := newVec(), &monitorRequest{"stock", "Stock.Get"}
		b.ReportAllocs()
		for b.Loop() {
			v.WithLabelValues(r.Service(), r.Method(), "success").Observe(d.Seconds())
		}
	})
	b.Run("RecordStat/prometheus-curried", func(b *testing.B) {
		o := newVec().WithLabelValues("stock", "Stock.Get", "success")
		b.ReportAllocs()
		for b.Loop() {
			o.Observe(d.Seconds())
		}
	})
	b.Run("Parallel/ours", func(b *testing.B) {
		m, r := newMonitor(), &monitorRequest{"stock", "Stock.Get"}
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				m.RecordStat(r, d, nil)
			}
		})
	})
	b.Run("Parallel/prometheus", func(b *testing.B) {
		v, r := newVec(), &monitorRequest{"stock", "Stock.Get"}
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				v.WithLabelValues(r.Service(), r.Method(), "success").Observe(d.Seconds())
			}
		})
	})
}

type monitorClient struct{ client.Client }

func (monitorClient) Call(context.Context, client.Request, any, ...client.CallOption) error {
	return nil
}

// promClient is the least a wrapper on prometheus does.
type promClient struct {
	client.Client
	vec *prometheus.HistogramVec
}

func (c promClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	begun := time.Now()
	err := c.Client.Call(ctx, req, rsp, opts...)
	status := "success"
	if err != nil {
		status = "error"
	}
	c.vec.WithLabelValues(req.Service(), req.Method(), status).Observe(time.Since(begun).Seconds())
	return err
}

func BenchmarkMonitorWrapper(b *testing.B) {
	plain := client.NewClient()
	req, ctx := plain.NewRequest("stock", "Stock.Get", nil), context.Background()
	for _, c := range []struct {
		name   string
		client client.Client
	}{
		{"none", monitorClient{plain}},
		{"ours", monitor.ClientWrapper(newMonitor())(monitorClient{plain})},
		{"prometheus", promClient{monitorClient{plain}, newVec()}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = c.client.Call(ctx, req, nil) // what it costs is looked at
			}
		})
	}
}
