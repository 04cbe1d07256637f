package main

import (
	"testing"

	"github.com/micro/go-platform/examples/sync/workers/check"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/sync/consul"
)

func TestRun(t *testing.T) { check.Run(t, consul.NewSync, backend.Consul(t).Addr) }

func TestTypos(t *testing.T) { check.Typos(t, consul.NewSync) }
