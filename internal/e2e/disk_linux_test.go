package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go-micro.dev/v6/client"

	authpb "github.com/micro/go-platform/auth/proto"
	configpb "github.com/micro/go-platform/config/proto"
	dbpb "github.com/micro/go-platform/db/proto"
	eventpb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backend/skip"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
	routerpb "github.com/micro/go-platform/router/proto"
	tracepb "github.com/micro/go-platform/trace/proto"
)

// smallDisk mounts a file system of a few megabytes.
func smallDisk(t *testing.T) string {
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m")
	if errors.Is(err, syscall.EPERM) {
		skip.Test(t, "no right to mount a file system: run as root to test full disks")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves no room on a disk.
func fill(t *testing.T, dir string) (empty func()) {
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for block := bytes.Repeat([]byte("x"), 64<<10); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(f.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

// A write of some kilobytes by each service that has a file.
func writes() map[string]func(context.Context, client.Client, int) error {
	text := func(n int) string { return fmt.Sprintf("%d%s", n, strings.Repeat("x", 8<<10)) }
	id := func(n int) string { return fmt.Sprintf("id-%d", n) }
	retry := client.WithRetries(0)
	return map[string]func(context.Context, client.Client, int) error{
		"auth": func(ctx context.Context, c client.Client, n int) error {
			r := &authpb.Record{Id: id(n), Type: "user", ClientSecret: "a secret of somebody", Metadata: map[string]string{"text": text(n)[:1000]}}
			_, err := authpb.NewAccountService("go.micro.srv.auth", c).Create(ctx, &authpb.CreateRequest{Account: r}, retry)
			return err
		},
		"config": func(ctx context.Context, c client.Client, n int) error {
			change := &configpb.Change{Id: "a:" + id(n), ChangeSet: &configpb.ChangeSet{Data: fmt.Sprintf("{%q:%q}", "a", text(n))}}
			_, err := configpb.NewConfigService("go.micro.srv.config", c).Create(ctx, &configpb.CreateRequest{Change: change}, retry)
			return err
		},
		"db": func(ctx context.Context, c client.Client, n int) error {
			req := &dbpb.CreateRequest{Database: &dbpb.Database{Name: "micro", Table: "micro"}, Record: &dbpb.Record{Id: id(n), Bytes: []byte(text(n))}}
			_, err := dbpb.NewDBService("go.micro.srv.db", c).Create(ctx, req, retry)
			return err
		},
		"event": func(ctx context.Context, c client.Client, n int) error {
			r := &eventpb.Record{Id: id(n), Type: "t", Origin: "o", Timestamp: 1, Data: text(n)}
			_, err := eventpb.NewEventService("go.micro.srv.event", c).Create(ctx, &eventpb.CreateRequest{Record: r}, retry)
			return err
		},
		"router": func(ctx context.Context, c client.Client, n int) error {
			r := &routerpb.RuleSet{Id: id(n), Service: "s", Version: fmt.Sprint(n), Weight: 1}
			_, err := routerpb.NewRuleService("go.micro.srv.router", c).Create(ctx, &routerpb.CreateRuleRequest{Rule: r}, retry)
			return err
		},
		"trace": func(ctx context.Context, c client.Client, n int) error {
			var many []*tracepb.Span
			for i := range 50 {
				many = append(many, &tracepb.Span{
					Name: "n", Id: fmt.Sprintf("%016x", 1000*n+i+1), TraceId: fmt.Sprintf("%032x", n+1), Timestamp: time.Now().UnixMicro(), Source: &tracepb.Service{Name: "s", Version: text(n)[:200]},
				})
			}
			_, err := tracepb.NewTraceService("go.micro.srv.trace", c).Create(ctx, &tracepb.CreateRequest{Spans: many}, retry)
			return err
		},
	}
}

// A disk that is full is in the answers, the log, the readiness and the metrics
// of each service that writes to one, and is over when there is room again.
func TestFullDisk(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	all := writes()
	for _, k := range withTables() {
		write := all[k.name]
		if write == nil { // monitor-srv writes for nobody who waits: see TestFailingWork
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			dir := smallDisk(t)
			var log rpctest.Buffer
			n := rpctest.New(t)
			running := n.Boot(k.boot(), func(c *daemon.Config) {
				c.DataDir, c.AdminAddr, c.Logger = dir, "127.0.0.1:0", slog.New(slog.NewTextHandler(&log, nil))
			})
			c := n.Client(rpctest.GRPC)
			times := 0
			try := func() error { times++; return write(t.Context(), c, times) }
			if err := try(); err != nil {
				t.Fatal(err)
			}
			empty := fill(t, dir)
			var err error
			rpctest.Eventually(t, "a write fails", func() bool { err = try(); return err != nil })
			if code := call.Code(err); code < 500 {
				t.Errorf("the disk is full: %v", err)
			}
			code, why := readyz(t, running.AdminAddress())
			if code != http.StatusServiceUnavailable || !strings.Contains(why, "failed") {
				t.Errorf("/readyz: %d %s", code, why)
			}
			t.Log(strings.TrimSpace(why))
			if out := log.String(); !strings.Contains(out, "cannot do its work") || !strings.Contains(out, "full") && !strings.Contains(out, "no space") {
				t.Errorf("the log does not say so:\n%s", out)
			}
			if body := page(t, running.AdminAddress(), "/metrics"); !strings.Contains(body, "work_failing{") {
				t.Errorf("the metrics do not say so:\n%s", body)
			}
			empty()
			rpctest.Eventually(t, "a write succeeds", func() bool { return try() == nil })
			if code, why := readyz(t, running.AdminAddress()); code != http.StatusOK {
				t.Errorf("there is room again: %d %s", code, why)
			}
		})
	}
}

func page(t *testing.T, admin, path string) string {
	rsp, err := http.Get("http://" + admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rsp.Body.Close() }() // it was read
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
