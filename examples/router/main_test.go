package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/memreg"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// screen ends the program once it printed what is wanted.
type screen struct {
	strings.Builder
	want string
	end  func()
}

func (s *screen) Write(p []byte) (int, error) {
	n, err := s.Builder.Write(p)
	if strings.Contains(s.String(), s.want) {
		s.end()
	}
	return n, err
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &screen{want: "for failing", end: cancel}
	if err := run(ctx, memreg.New(), out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"nodes from the router-srv", `[1-9]\d\d calls, \d+ failed`, "100.0 % went well", "success rate|failed in a row|for failing"} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}
