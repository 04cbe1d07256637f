package eventtest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/micro/go-platform/event"
)

func large(t *testing.T, open opener) {
	e := start(t, open)
	data := strings.Repeat("x", event.MaxRecord-1000)
	var want []string
	for range 6 {
		want = append(want, publish(t, e, "large", data)[0].Data)
	}
	consume(t, e, nil, event.FromBeginning()).want(want...)
	consume(t, e, nil, event.FromBeginning(), event.Durable("large")).want(want...)
}

// pages publishes what fits one page in number and not in bytes, once by its
// data and once by its metadata.
func pages(t *testing.T, open opener) {
	e := start(t, open)
	const count = 150
	metadata := make(map[string]string)
	for i := range 8 {
		metadata[fmt.Sprint("key ", i)] = strings.Repeat("v", event.MaxMetadata/8-10)
	}
	var want []string
	var all []*event.Record
	for i := range count {
		heavy := &event.Record{Data: fmt.Sprint(i, strings.Repeat("x", 40<<10))}
		light := &event.Record{Data: fmt.Sprint("m", i), Metadata: metadata}
		want = append(want, heavy.Data, light.Data)
		all = append(all, heavy, light)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.PublishAll(ctx, all); err != nil {
		t.Fatal(err)
	}
	consume(t, e, nil, event.FromBeginning()).want(want...)
	consume(t, e, nil, event.FromBeginning(), event.Durable("pages"), event.Prefetch(count)).want(want...)
}
