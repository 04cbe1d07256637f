package kv

import (
	"context"
	"slices"

	"github.com/micro/go-platform/internal/lifecycle"
	pb "github.com/micro/go-platform/kv/proto"
)

// reap frees what has expired and forgets what was deleted long ago.
func (p *platform) reap(ctx context.Context) {
	for lifecycle.Sleep(ctx, ReaperEvent) {
		p.clean(ctx)
	}
}

func (p *platform) clean(ctx context.Context) {
	p.records.expire()
	for gone := range slices.Chunk(p.records.goneFor(p.retention), maxOps) {
		p.forget(ctx, gone)
	}
}

// forget forgets what is gone, but not before no owner has anything older: where
// there is such a thing it is replaced first, or it would come back. Only owners
// have items of a slot while the view is stable. It comes so late that no write
// of before is on its way any more.
func (p *platform) forget(ctx context.Context, gone []*pb.Record) {
	v := p.view.Load()
	if v == nil || !v.stable {
		return
	}
	ops, sure := make(map[int][]*pb.Op), make(map[string]int, len(gone))
	for _, r := range gone {
		for _, to := range v.ring.of(slotOf(string(r.Key))) {
			ops[int(to)] = append(ops[int(to)], &pb.Op{Kind: pb.Op_REPLACE, Record: r})
		}
	}
	parts := p.scatter(v, ops)
	for range ops {
		select {
		case got := <-parts:
			for i, r := range got.results {
				if !r.Unready {
					sure[string(ops[got.from][i].Record.Key)]++
				}
			}
		case <-ctx.Done():
			return
		}
	}
	for _, r := range gone {
		if sure[string(r.Key)] == v.ring.replicas {
			p.records.forget(r)
		}
	}
}
