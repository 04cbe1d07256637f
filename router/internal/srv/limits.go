package srv

import (
	"context"

	"github.com/micro/go-platform/internal/page"
	pb "github.com/micro/go-platform/router/proto"
)

// limits is Limit of go.micro.srv.router.
type limits struct{ keeper }

// Create implements pb.LimitHandler.
func (h limits) Create(ctx context.Context, req *pb.CreateLimitRequest, rsp *pb.CreateLimitResponse) error {
	if err := checkLimit(req.Limit); err != nil {
		return refuse(err)
	}
	rsp.Limit = req.Limit
	return h.wrote(h.store.CreateLimit(ctx, req.Limit))
}

// Read implements pb.LimitHandler.
func (h limits) Read(ctx context.Context, req *pb.ReadLimitRequest, rsp *pb.ReadLimitResponse) (err error) {
	if err := checkName("service", req.Service, maxService); err != nil {
		return refuse(err)
	}
	rsp.Limit, err = h.store.ReadLimit(ctx, req.Service)
	return refuse(err)
}

// Update implements pb.LimitHandler.
func (h limits) Update(ctx context.Context, req *pb.UpdateLimitRequest, rsp *pb.UpdateLimitResponse) error {
	if err := checkLimit(req.Limit); err != nil {
		return refuse(err)
	}
	rsp.Limit = req.Limit
	return h.wrote(h.store.UpdateLimit(ctx, req.Limit))
}

// Delete implements pb.LimitHandler.
func (h limits) Delete(ctx context.Context, req *pb.DeleteLimitRequest, _ *pb.DeleteLimitResponse) error {
	if err := checkName("service", req.Service, maxService); err != nil {
		return refuse(err)
	}
	return h.wrote(h.store.DeleteLimit(ctx, req.Service))
}

// Search implements pb.LimitHandler.
func (h limits) Search(ctx context.Context, req *pb.SearchLimitRequest, rsp *pb.SearchLimitResponse) (err error) {
	if err := firstOf(page.Check(&req.Limit, &req.Offset), checkOptional("service", req.Service, maxService)); err != nil {
		return refuse(err)
	}
	rsp.Limits, err = h.store.SearchLimits(ctx, req.Service, req.Limit, req.Offset)
	return refuse(err)
}
