package main

import (
	"testing"

	"github.com/micro/go-platform/examples/sync/workers/check"
	"github.com/micro/go-platform/sync/memory"
)

func TestRun(t *testing.T) { check.Run(t, memory.NewServer().NewSync, "") }
