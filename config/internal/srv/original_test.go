package srv_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/backend"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// TestWatchOfTheOriginal is a client written to the contract: WatchRequest{id=1},
// WatchResponse{id=1 change_set=2}, and it looks into each change_set.
func TestWatchOfTheOriginal(t *testing.T) {
	w := newWorld(t)
	var req pb.WatchRequest
	if err := proto.Unmarshal(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "prod:shop"), &req); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	s, err := w.Watch(ctx, &req)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan *pb.WatchResponse, 10)
	go func() {
		defer close(heard)
		for {
			rsp, err := s.Recv()
			if err != nil {
				return
			}
			heard <- rsp
		}
	}()
	w.create("prod:shop", `{"a":1}`)
	quiet := time.NewTimer(9 * time.Second) // two signs of life
	defer quiet.Stop()
	for n := 0; n < 3; {
		select {
		case rsp := <-heard:
			b, err := proto.Marshal(rsp)
			if err != nil {
				t.Fatal(err)
			}
			if !hasField(b, 2) {
				t.Fatalf("a message without change_set: %v", rsp)
			}
			if n++; n == 2 {
				w.update("prod:shop", "", `{"a":3}`)
			}
		case <-quiet.C:
			w.update("prod:shop", "", `{"a":2}`)
			if n != 1 {
				t.Fatalf("%d messages", n)
			}
		}
	}
	cancel()
	for range heard {
		t.Error("one more message")
	}
}

// hasField reports whether a message has a field.
func hasField(b []byte, want protowire.Number) bool {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 || num == want {
			return n > 0
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return false
}

// TestChecksums: each is that of the data beside it, masked or not.
func TestChecksums(t *testing.T) {
	w := newWorld(t)
	w.create("a:b", `{"password":"s3cret","n":1}`)
	w.update("a:b", "n", `2`)
	log, err := w.AuditLog(within(t), &pb.AuditLogRequest{})
	if err != nil {
		t.Fatal(err)
	}
	found, err := w.Search(within(t), &pb.SearchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	read, err := w.Read(within(t), &pb.ReadRequest{Id: "a:b", Path: "n"})
	if err != nil {
		t.Fatal(err)
	}
	all := append(found.Configs, read.Change)
	for _, c := range log.Changes {
		all = append(all, c.Change)
	}
	if len(all) != 4 {
		t.Fatalf("%d change sets", len(all))
	}
	for _, c := range all {
		sum := sha256.Sum256([]byte(c.ChangeSet.Data))
		expect(t, "checksum of "+c.ChangeSet.Data, c.ChangeSet.Checksum, hex.EncodeToString(sum[:]))
	}
}

// TestRevisionOfARead: the revision of a read fits the next write, whatever was
// written to other configs.
func TestRevisionOfARead(t *testing.T) {
	w := newWorld(t)
	w.create("a:b", `{"n":1}`)
	w.create("other:config", `{}`)
	read, err := w.Read(within(t), &pb.ReadRequest{Id: "a:b"})
	if err != nil {
		t.Fatal(err)
	}
	w.update("other:config", "", `{"x":1}`)
	if _, err := w.Update(within(t), &pb.UpdateRequest{Change: change("a:b", "n", "2"), IfRevision: &read.Revision}); err != nil {
		t.Errorf("the revision of the read: %v", err)
	}
	if _, err := w.Update(within(t), &pb.UpdateRequest{Change: change("a:b", "n", "3"), IfRevision: &read.Revision}); call.Code(err) != 412 {
		t.Errorf("after another write: %v", err)
	}
	future := read.Revision + 1000
	if _, err := w.Update(within(t), &pb.UpdateRequest{Change: change("a:b", "n", "3"), IfRevision: &future}); call.Code(err) != 412 {
		t.Errorf("a revision yet to come: %v", err)
	}
	if _, err := w.Create(within(t), &pb.CreateRequest{Change: change("c:d", "", "{}")}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Update(within(t), &pb.UpdateRequest{Change: change("e:f", "", "{}"), IfRevision: &read.Revision}); call.Code(err) != 412 && call.Code(err) != 404 {
		t.Errorf("what is not there: %v", err)
	}
}

// TestAnswersFitADefaultClient asks for a lot. A default client takes 4 MiB; that of
// the test takes more, and can be closed.
func TestAnswersFitADefaultClient(t *testing.T) {
	url := rpctest.MySQLURL(t, backend.Shared)
	w := newWorld(t, func(c *daemon.Config) { c.DatabaseURL = url })
	big := fmt.Sprintf(`{"v":"%s"}`, strings.Repeat("x", 1<<20-100))
	for i := range 6 {
		w.create(fmt.Sprintf("big:c%d", i), big)
		w.update(fmt.Sprintf("big:c%d", i), "w", `1`)
	}
	for i := range 5 {
		w.create(fmt.Sprintf("n%d:app", i), strings.Replace(big, "v", fmt.Sprint("v", i), 1))
	}
	store := open(t, url)    // that of another config-srv, which has not seen the last writes
	for i := 1; i < 5; i++ { // one config inherits 5 MB
		if _, err := store.InheritFrom(t.Context(), fmt.Sprintf("n%d", i), fmt.Sprintf("n%d", i-1)); err != nil {
			t.Fatal(err)
		}
	}
	rpctest.Eventually(t, "that is seen", func() bool {
		_, err := w.Read(within(t), &pb.ReadRequest{Id: "n4:app", Path: "v0"})
		return err == nil
	})
	fits := func(m proto.Message) {
		t.Helper()
		if n := proto.Size(m); n > 4<<20-1024 {
			t.Errorf("%T of %d bytes", m, n)
		}
	}
	found, err := w.Search(within(t), &pb.SearchRequest{})
	if err != nil || len(found.Configs) != 11 {
		t.Errorf("Search: %d, %v", len(found.GetConfigs()), err)
	}
	fits(found)
	log, err := w.AuditLog(within(t), &pb.AuditLogRequest{})
	if err != nil || len(log.Changes) < 17 {
		t.Errorf("AuditLog: %d, %v", len(log.GetChanges()), err)
	}
	fits(log)
	if rsp, err := w.Read(within(t), &pb.ReadRequest{Id: "n1:app"}); err != nil {
		t.Errorf("Read of 2 MB: %v", err)
	} else {
		fits(rsp)
	}
	if _, err := w.Read(within(t), &pb.ReadRequest{Id: "n4:app"}); call.Code(err) != 400 || !strings.Contains(err.Error(), "path by path") {
		t.Errorf("Read of 5 MB: %.300v", err)
	}
	if s, err := w.Watch(within(t), &pb.WatchRequest{Id: "n4:app"}); err != nil {
		t.Error(err)
	} else {
		if _, err := s.Recv(); call.Code(err) != 400 || !strings.Contains(err.Error(), "path by path") {
			t.Errorf("Watch of 5 MB: %.300v", err)
		}
		_ = s.Close() // it has ended
	}
	if rsp, err := w.Read(within(t), &pb.ReadRequest{Id: "n4:app", Path: "v0"}); err != nil || len(rsp.Change.ChangeSet.Data) < 1<<19 {
		t.Errorf("Read of a path: %.300v", err)
	}
}
