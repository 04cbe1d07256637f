package main

import (
	"testing"

	"github.com/micro/go-platform/examples/sync/workers/check"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/sync/etcd"
)

func TestRun(t *testing.T) { check.Run(t, etcd.NewSync, backend.Etcd(t).Addr) }

func TestTypos(t *testing.T) { check.Typos(t, etcd.NewSync) }
