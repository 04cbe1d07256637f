package srv

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/google/uuid"

	"github.com/micro/go-platform/event/internal/eventlog"
	"github.com/micro/go-platform/event/internal/wire"
	pb "github.com/micro/go-platform/event/proto"
	"github.com/micro/go-platform/internal/batch"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/loss"
)

// intake takes records from the topic, which anyone may publish to and which
// acknowledges nothing. A message can be appended and do no more: it is held
// to the same bounds as any record.
type intake struct {
	queue *batch.Queue[*pb.Record]
	bad   loss.Counter
	env   *daemon.Env
}

func newIntake(log *eventlog.Log, env *daemon.Env) *intake {
	in := &intake{env: env}
	in.queue = batch.New(batch.Config[*pb.Record]{
		Name:     "records of the topic",
		One:      "record of the topic",
		Size:     500,
		Capacity: 10_000,
		Limit:    64 << 20,
		Eager:    true,
		Logger:   env.Logger,
		Weigh:    func(r *pb.Record) int { return proto.Size(r) },
		Send: func(ctx context.Context, records []*pb.Record) error {
			results, err := log.Create(ctx, records)
			for _, r := range results {
				if r.Error != "" { // the store has narrower bounds
					in.bad.Add(1)
				}
			}
			return env.Worked("append records of the topic", err)
		},
	})
	return in
}

// take never fails: what is dropped is counted and logged here.
func (in *intake) take(_ context.Context, r *pb.Record) error {
	if r.GetId() == "" && r != nil { // the original's publishers may leave it out
		r.Id = uuid.NewString()
	}
	if err := wire.Validate(r); err != nil {
		in.bad.Add(1)
		in.env.Logger.Debug("a record of the topic is not valid", "error", fmt.Sprintf("%.200s", err))
		return nil //nolint:nilerr // see above
	}
	_ = in.queue.Add(r) // the queue counts what it drops
	return nil
}

func (in *intake) report(ctx context.Context) {
	lifecycle.Every(ctx, 5*time.Second, func() { in.bad.Report(in.env.Logger, "records of the topic", "not valid") })
}
