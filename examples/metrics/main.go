// Metrics shows what the default plugin of metrics sends. It plays a small shop
// and prints each datagram as a listener of its own receives it:
//
//	go run ./examples/metrics
//
// With -collector 127.0.0.1:8125 the datagrams go to a Telegraf, StatsD or agent
// there; with -prometheus 127.0.0.1:9090 the same shop serves /metrics instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/micro/go-platform/metrics"
	"github.com/micro/go-platform/metrics/prometheus"
)

func main() {
	collector := flag.String("collector", "", "host:port to send to, instead of printing")
	serve := flag.String("prometheus", "", "host:port to serve /metrics on, instead of sending")
	last := flag.Duration("for", 5*time.Second, "how long to run; 0 is until Ctrl-C")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if *last > 0 {
		ctx, cancel = context.WithTimeout(ctx, *last)
		defer cancel()
	}
	if err := run(ctx, *collector, *serve); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, collector, serve string) error {
	m, end, err := plugin(collector, serve)
	if err != nil {
		return err
	}
	defer end()
	if err := m.Start(); err != nil {
		return err
	}
	shop(ctx, m)
	return m.Stop() // sends what is left
}

// plugin returns the metrics that the flags ask for.
func plugin(collector, serve string) (metrics.Metrics, func(), error) {
	switch {
	case serve != "":
		m := prometheus.NewMetrics(metrics.Namespace("shop"))
		end, err := listenHTTP(serve, m.Handler())
		return m, end, err
	case collector != "":
		return send(collector), func() {}, nil
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		show(conn)
	}()
	end := func() {
		// What Stop has sent is in the socket: read it, then leave.
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		<-done
		_ = conn.Close() // it was only read
	}
	return send(conn.LocalAddr().String()), end, nil
}

func send(collector string) metrics.Metrics {
	return metrics.NewMetrics(
		metrics.Namespace("shop"),
		metrics.Collectors([]string{collector}),
		metrics.BatchInterval(time.Second),
		metrics.WithFields(metrics.Fields{"zone": "a"}),
	)
}

// show prints datagrams until the socket's deadline.
func show(conn net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		fmt.Printf("%s  %d bytes\n  %s\n", time.Now().Format("15:04:05"), n, strings.ReplaceAll(string(buf[:n]), "\n", "\n  "))
	}
}

func listenHTTP(addr string, handler http.Handler) (func(), error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", handler)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Print(err)
		}
	}()
	fmt.Printf("http://%s/metrics\n", l.Addr())
	return func() { _ = server.Close() }, nil // it was only asked
}

// shop takes some orders a second until ctx ends.
func shop(ctx context.Context, m metrics.Metrics) {
	orders := metrics.NewCounterVec(m, "orders", "kind") // a field known at the call
	took := m.Histogram("checkout_us")                   // held: one atomic add or short lock each
	open := m.Gauge("carts")
	kinds := []string{"book", "gift", "free: 1|c"} // the last would break the wire
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			orders.With(kinds[rand.IntN(len(kinds))]).Incr(1)
			took.Record(1000 + rand.Int64N(9000))
			open.Set(rand.Int64N(20) - 5)
		case <-ctx.Done():
			return
		}
	}
}
