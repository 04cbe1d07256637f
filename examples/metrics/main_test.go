package main

import (
	"context"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	for name, serve := range map[string]string{"print": "", "prometheus": "127.0.0.1:0"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			if err := run(ctx, "", serve); err != nil {
				t.Fatal(err)
			}
		})
	}
}
