package membroker_test

import (
	"testing"

	"github.com/micro/go-platform/internal/membroker"
	"go-micro.dev/v6/broker"
)

func TestOneLeavesTheOthersStay(t *testing.T) {
	b, err := membroker.New()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	sub, err := b.Subscribe("t", func(e broker.Event) error { got <- string(e.Message().Body); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := membroker.Shared(b).Disconnect(); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish("t", &broker.Message{Body: []byte("still here")}); err != nil {
		t.Fatal(err)
	}
	if m := <-got; m != "still here" {
		t.Fatalf("got %q", m)
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
}
