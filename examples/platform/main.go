// The platform in one process: auth-srv, trace-srv, monitor-srv, router-srv,
// config-srv, db-srv, event-srv and a small shop of real go-micro services that
// call each other over real sockets, authorized, routed, configured, traced,
// measured, logged and monitored through the wrappers of this project. The
// gateways keep the sessions in a ring, the orders are in a database, two
// schedulers settle them in turn.
//
// While customers buy, a gateway and the consumer of the orders' events are
// killed, and the leading scheduler is paused until the other leads.
//
//	go run ./examples/platform            until Ctrl-C
//	go run ./examples/platform -for 10s   ends by itself, with a summary
//
// With -registry consul (or etcd, nats, mdns) other programs can join it: they
// find an account in the file that devauth names.
//
// It exits with 1 when a promise that it states was not kept.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn) // libraries that log by themselves
	c := settings{bound: 5 * time.Second}
	flag.DurationVar(&c.duration, "for", 0, "end after this `time`; 0: at Ctrl-C")
	flag.DurationVar(&c.every, "every", 3*time.Second, "print a report each `interval`")
	flag.StringVar(&c.registry, "registry", "memory", "memory, consul, etcd, nats or mdns")
	flag.StringVar(&c.registryAddress, "registry_address", "", "`host:port` of the registry, empty for its usual one")
	flag.IntVar(&c.rate, "rate", 50, "customers per second")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "platform: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	code, err := run(ctx, c, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "platform:", err)
	}
	os.Exit(code)
}

type settings struct {
	duration time.Duration
	every    time.Duration
	rate     int
	bound    time.Duration // of a report, and of the end of a node

	registry, registryAddress string
}

func (c settings) check() error {
	switch {
	case c.every < 500*time.Millisecond:
		return fmt.Errorf("-every %v: want 500ms or more", c.every)
	case c.rate < 1 || c.rate > 500:
		return fmt.Errorf("-rate %d: want 1 to 500", c.rate)
	case c.duration < 0:
		return fmt.Errorf("-for %v: negative", c.duration)
	}
	return nil
}

// run returns the exit code.
func run(ctx context.Context, c settings, out io.Writer) (int, error) {
	if err := c.check(); err != nil {
		return 2, err
	}
	begin := time.Now()
	p, err := start(ctx, c)
	if err != nil {
		return 1, err
	}
	fmt.Fprintf(out, "ready in %.1f s: auth-srv, trace-srv, monitor-srv, router-srv, config-srv, db-srv, event-srv, 3 x gateway, 2 x orders, 4 x stock, 2 x scheduler; %d customers per second\n",
		time.Since(begin).Seconds(), c.rate)
	fmt.Fprintf(out, "orders-2 refuses one payment in ten, stock-2 is slow, stock-3 fails four times in five, stock-4 is the canary of v2; logs in %s\n", p.dir)
	r := &report{platform: p, out: out, last: time.Now()}
	r.strangers(ctx)

	if c.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.duration)
		defer cancel()
	}
	ticker := time.NewTicker(c.every)
	defer ticker.Stop()
	p.customers.start(c.rate)
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-ticker.C:
			r.print()
			r.play()
		}
	}
	return r.end(time.Since(begin)), nil
}
