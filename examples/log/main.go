// Command log shows the log feature: a program that takes orders and logs to
// standard output, for people, and to a rotated JSON file, for machines.
//
//	go run ./examples/log
//	go run ./examples/log --level debug --file /tmp/orders.json --for 1m
//
// While it runs, move the file away and send SIGHUP: it goes on in a new one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/stdout"
)

type config struct {
	level string
	file  string
	every time.Duration
	stop  time.Duration
}

func main() {
	var c config
	flag.StringVar(&c.level, "level", "info", "debug, info, warn, error or fatal")
	flag.StringVar(&c.file, "file", log.DefaultOutputName, "file of JSON lines")
	flag.DurationVar(&c.every, "every", 300*time.Millisecond, "time between two orders")
	flag.DurationVar(&c.stop, "for", 5*time.Second, "how long to run")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config, out io.Writer) (err error) {
	level, err := log.ParseLevel(c.level)
	if err != nil {
		return err
	}
	l := log.NewLog(
		log.WithLevel(level),
		log.WithFields(log.Fields{"service": "orders"}),
		log.WithRedact("card"),
		log.WithOutput(stdout.NewOutput(stdout.Text(), stdout.Writer(out))),
		log.WithOutput(log.NewOutput(log.OutputName(c.file), log.OutputRotate(10<<20, 24*time.Hour))),
	)
	if err := l.Start(); err != nil {
		return errors.Join(err, l.Stop())
	}
	defer func() { err = errors.Join(err, l.Stop()) }()

	// Whatever logs by log/slog, libraries say, ends in the same outputs.
	library := slog.New(log.NewSlogHandler(l)).With("library", "stock")

	ctx, cancel := context.WithTimeout(ctx, c.stop)
	defer cancel()
	ticker := time.NewTicker(c.every)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			l.Infof("stopped after %d orders", n-1)
			return nil
		case <-ticker.C:
			order(l.WithFields(log.Fields{"order": strconv.Itoa(n)}), library, n)
		}
	}
}

func order(l log.Logger, library *slog.Logger, n int) {
	l.Debug("checking the stock")
	library.Debug("looked up", slog.Group("item", "id", n%7, "left", 100-n))
	if n%5 == 0 {
		l.LogFields(log.ErrorLevel, "payment refused", log.Field{Key: "card", Value: "4111 1111 1111 1111"})
		return
	}
	l.Info("order accepted")
}
