package srv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/db/internal/srv/records"
	"github.com/micro/go-platform/event"
	eventpb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/backoff"
	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/loss"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
)

const (
	relayBatch  = 100
	relayWindow = 5 * time.Second  // of one call to event-srv
	relayEvery  = 15 * time.Second // a look at what other db-srvs may have left
)

// relay publishes changes to event-srv. One that was published and then not
// removed from its outbox is published again: event-srv knows its id, for as long
// as its window for duplicates is.
type relay struct {
	events  eventpb.EventService
	log     *slog.Logger
	refused loss.Counter
	// queue holds changes of databases without an outbox, which a crash loses.
	queue *batch.Queue[named]
}

type named struct {
	database string
	driver.Change
}

func newRelay(c client.Client, log *slog.Logger) *relay {
	r := &relay{events: eventpb.NewEventService(event.ServiceName, c), log: log}
	r.queue = batch.New(batch.Config[named]{
		Name: "changes of databases without an outbox", One: "change of a database without an outbox", Size: relayBatch, Interval: 50 * time.Millisecond, Capacity: 10_000,
		Timeout: relayWindow, Logger: log,
		Send: func(ctx context.Context, all []named) error { return r.publish(ctx, all) },
	})
	return r
}

// unsafe publishes a change that no outbox holds. The queue counts what it
// drops.
func (r *relay) unsafe(database, table, action string, w driver.Write) {
	d := w.Record
	c := driver.Change{ID: d.ETag, Table: table, Record: d.ID, Action: action, ETag: d.ETag, At: d.Updated, Metadata: d.Metadata}
	if action == db.Deleted {
		c.ETag, c.Metadata = "", nil
	}
	_ = r.queue.Add(named{database, c}) // see above
}

// run empties the outbox of one database whenever something was put into it.
func (r *relay) run(ctx context.Context, d *database) {
	ticker := time.NewTicker(relayEvery)
	defer ticker.Stop()
	wait := backoff.Backoff{Max: 5 * time.Second}
	failing := false
	for {
		err := r.drain(ctx, d)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if !failing {
				r.log.Warn("changes wait in the outbox, will retry", "database", d.name, "error", err)
			}
			failing = true
			_ = wait.Wait(ctx) // the loop looks at ctx
			continue
		}
		if failing {
			r.log.Info("outbox is empty again", "database", d.name)
			failing = false
		}
		wait.Reset()
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-ticker.C:
		}
	}
}

// drain publishes in order and removes what event-srv acknowledged.
func (r *relay) drain(ctx context.Context, d *database) error {
	for {
		changes, err := d.outbox.Pending(ctx, relayBatch)
		if errors.Is(err, driver.ErrNoTable) { // tables are not ours to create: nobody uses events
			return nil
		}
		if err != nil || len(changes) == 0 {
			return err
		}
		all := make([]named, len(changes))
		for i, c := range changes {
			all[i] = named{d.name, c}
		}
		if err := r.publish(ctx, all); err != nil {
			return err
		}
		if err := d.outbox.Remove(ctx, changes); err != nil {
			return err
		}
	}
}

// publish appends the changes to event-srv's log. What that refuses for good is
// counted and left out: it would be in the way of all others.
func (r *relay) publish(ctx context.Context, changes []named) error {
	req := &eventpb.CreateRequest{}
	for _, c := range changes {
		record, err := toEvent(c)
		if err != nil {
			r.drop(err.Error())
			continue
		}
		req.Records = append(req.Records, record)
	}
	if len(req.Records) == 0 {
		return nil
	}
	rsp, err := r.events.Create(ctx, req, rpc.Options(relayWindow)...)
	err = rpcerr.From(ctx, "publish changes", err)
	switch {
	case errors.Is(err, rpcerr.ErrInvalid) && len(req.Records) == 1:
		r.drop(err.Error())
		return nil
	case err != nil:
		return err
	}
	for _, result := range rsp.Results {
		if result.Error != "" {
			r.drop(result.Error)
		}
	}
	return nil
}

func (r *relay) drop(reason string) {
	r.refused.Add(1)
	r.refused.Report(r.log, "changes", "refused by event-srv: "+reason)
}

func toEvent(c named) (*eventpb.Record, error) {
	change := db.Change{Database: c.database, Table: c.Table, Id: c.Record, Action: c.Action, ETag: c.ETag, Time: c.At}
	if c.Action != db.Deleted {
		var err error
		if change.Metadata, err = records.Metadata(c.Metadata); err != nil {
			return nil, err
		}
	}
	data, err := json.Marshal(change)
	if err != nil {
		return nil, fmt.Errorf("change of %.60q: %w", c.Record, err)
	}
	key := sha256.Sum256([]byte(c.database + "\x00" + c.Table + "\x00" + c.Record))
	return &eventpb.Record{
		Id: c.ID, Type: db.EventType(c.database, c.Table, c.Action), Origin: db.ServiceName, Timestamp: c.At,
		Key: hex.EncodeToString(key[:16]), Data: string(data),
		Metadata: map[string]string{"database": c.database, "table": c.Table, "action": c.Action},
	}, nil
}
