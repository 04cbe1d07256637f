package db

import (
	"context"
	"fmt"
	"sync"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/db/internal/scalar"
	"github.com/micro/go-platform/db/plugin"
	pb "github.com/micro/go-platform/db/proto"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
)

// platform calls db-srv.
type platform struct {
	mu      sync.RWMutex
	options Options
	invalid error
	service plugin.Service // nil before the first call or Start
	release func()
	stopped bool
}

// NewDB returns the default plugin, which talks to db-srv. It does no I/O.
// Options with bad values are reported by Start and by every call.
func NewDB(opts ...Option) DB {
	p := &platform{options: newOptions()}
	_ = p.Init(opts...) // told later, as said above
	return p
}

func (p *platform) Init(opts ...Option) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range opts {
		o(&p.options)
	}
	p.invalid = p.options.validate()
	return p.invalid
}

func (p *platform) Options() Options {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.options
}

func (p *platform) String() string { return "platform" }

func (p *platform) Start() error {
	_, _, err := p.connect()
	return err
}

func (p *platform) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.release != nil {
		p.release()
		p.release = nil
	}
	return nil
}

// connect returns what a call needs and takes hold of the client once.
func (p *platform) connect() (plugin.Service, Options, error) {
	p.mu.RLock()
	service, options, err := p.service, p.options, p.invalid
	if p.stopped {
		err = fmt.Errorf("db: %w", ErrStopped)
	}
	p.mu.RUnlock()
	if err != nil || service != nil {
		return service, options, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, options, fmt.Errorf("db: %w", ErrStopped)
	}
	switch {
	case p.service != nil:
	case p.options.Service != nil:
		p.service = p.options.Service
	default:
		var c client.Client
		c, p.release = rpc.Acquire(p.options.Client, p.options.TLS)
		p.service = pb.NewDBService(ServiceName, c)
	}
	return p.service, p.options, nil
}

// prepare is what every method begins with.
func (p *platform) prepare(method string, opts []CallOption) (plugin.Service, *call, []client.CallOption, error) {
	service, options, err := p.connect()
	if err != nil {
		return nil, nil, nil, err
	}
	c := options.call(opts)
	if err := c.err(method); err != nil {
		return nil, nil, nil, fmt.Errorf("db: %s: %w", method, err)
	}
	return service, c, rpc.Options(options.Timeout), nil
}

func failed(ctx context.Context, method, id string, err error) error {
	return rpcerr.From(ctx, fmt.Sprintf("db: %s %.60q", method, id), err)
}

func (p *platform) Read(id string, opts ...CallOption) (Record, error) {
	service, c, callOpts, err := p.prepare("read", opts)
	if err != nil {
		return nil, err
	}
	rsp, err := service.Read(c.ctx, &pb.ReadRequest{Database: c.place(), Id: id, Consistency: pb.Consistency(c.consistency)}, callOpts...)
	if err != nil {
		return nil, failed(c.ctx, "read", id, err)
	}
	r := fromMessage(rsp.Record)
	c.give(r)
	return r, nil
}

func (c *call) give(r Record) {
	if c.returning != nil {
		*c.returning = r
	}
}

// stored hands out r as the service stored it.
func (c *call) stored(r Record, m *pb.Record) {
	if c.returning != nil {
		full := fromMessage(m)
		full.data = r.Bytes()
		*c.returning = full
	}
}

func (p *platform) Create(r Record, opts ...CallOption) error {
	return p.write("create", r, append(opts[:len(opts):len(opts)], CreateOnly()))
}

func (p *platform) Update(r Record, opts ...CallOption) error { return p.write("update", r, opts) }

func (p *platform) write(method string, r Record, opts []CallOption) error {
	service, c, callOpts, err := p.prepare(method, opts)
	if err != nil {
		return err
	}
	if r == nil {
		return fmt.Errorf("db: %s: %w: the record is nil", method, ErrInvalid)
	}
	m, err := toMessage(r)
	if err != nil {
		return fmt.Errorf("db: %s %.60q: %w", method, r.Id(), err)
	}
	events := p.Options().Events
	if c.create {
		rsp, err := service.Create(c.ctx, &pb.CreateRequest{Database: c.place(), Record: m, Events: events, Token: c.token}, callOpts...)
		if err != nil {
			return failed(c.ctx, "create", r.Id(), err)
		}
		c.stored(r, rsp.Record)
		return nil
	}
	req := &pb.UpdateRequest{Database: c.place(), Record: m, Events: events, Upsert: c.upsert, Token: c.token}
	if c.match != nil {
		req.IfMatch = *c.match
	}
	rsp, err := service.Update(c.ctx, req, callOpts...)
	if err != nil {
		return failed(c.ctx, "update", r.Id(), err)
	}
	c.stored(r, rsp.Record)
	return nil
}

func (p *platform) Delete(id string, opts ...CallOption) error {
	service, c, callOpts, err := p.prepare("delete", opts)
	if err != nil {
		return err
	}
	req := &pb.DeleteRequest{Database: c.place(), Id: id, Events: p.Options().Events, Token: c.token}
	if c.match != nil {
		req.IfMatch = *c.match
	}
	_, err = service.Delete(c.ctx, req, callOpts...)
	return failed(c.ctx, "delete", id, err)
}

func (p *platform) Search(md Metadata, limit, offset int64, opts ...CallOption) ([]Record, error) {
	service, c, callOpts, err := p.prepare("search", opts)
	if err != nil {
		return nil, err
	}
	req, err := c.search(md, limit, offset)
	if err != nil {
		return nil, fmt.Errorf("db: search: %w", err)
	}
	rsp, err := service.Search(c.ctx, req, callOpts...)
	if err != nil {
		return nil, rpcerr.From(c.ctx, "db: search", err)
	}
	if c.more != nil {
		*c.more = rsp.More
	}
	found := make([]Record, 0, len(rsp.Records))
	for _, m := range rsp.Records {
		found = append(found, fromMessage(m))
	}
	return found, nil
}

func (c *call) search(md Metadata, limit, offset int64) (*pb.SearchRequest, error) {
	req := &pb.SearchRequest{
		Database: c.place(), Limit: limit, Offset: offset, Conditions: c.where,
		Order: c.order, Reverse: c.reverse, Consistency: pb.Consistency(c.consistency),
	}
	for key, value := range md {
		v, err := scalar.New(value)
		if err != nil {
			return nil, fmt.Errorf("%w: metadata: %.60q: %w", ErrInvalid, key, err)
		}
		req.Conditions = append(req.Conditions, &pb.Condition{Key: key, Value: v})
	}
	if c.after != nil {
		req.After = &pb.Cursor{Id: c.after.Id()}
		if c.order != "" {
			value, ok := c.after.Metadata()[c.order]
			if !ok {
				return nil, fmt.Errorf("%w: option After: the record has no %.60q to order by", ErrInvalid, c.order)
			}
			v, err := scalar.New(value)
			if err != nil {
				return nil, fmt.Errorf("%w: option After: %w", ErrInvalid, err)
			}
			req.After.Value = v
		}
	}
	return req, nil
}
