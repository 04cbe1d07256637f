// Command zipkin sends a small trace to a Zipkin server and prints where to
// look at it.
//
//	go run ./examples/trace/zipkin -collector 127.0.0.1:9411
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/trace"
	"github.com/micro/go-platform/trace/zipkin"
)

func main() {
	collector := flag.String("collector", "127.0.0.1:9411", "host:port of Zipkin")
	flag.Parse()
	if err := run(context.Background(), *collector, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, collector string, out io.Writer) error {
	t := zipkin.NewTrace(
		trace.Collectors([]string{collector}),
		trace.Service(&registry.Service{Name: "shop"}),
	)
	if err := t.Start(); err != nil {
		return err
	}
	var id string
	err := trace.Do(ctx, t, "checkout", func(ctx context.Context) error {
		s, _ := t.FromContext(ctx)
		id = s.TraceId
		s.Annotate("item", "tea")
		pay := trace.Do(ctx, t, "pay", func(context.Context) error {
			time.Sleep(3 * time.Millisecond)
			return errors.New("card declined")
		})
		if pay == nil {
			return nil
		}
		return trace.Do(ctx, t, "invoice", func(context.Context) error {
			time.Sleep(time.Millisecond)
			return nil
		})
	})
	if err := errors.Join(err, t.Stop()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "http://%s/zipkin/traces/%s\n", collector, id)
	return err
}
