package db

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/db/internal/scalar"
	"github.com/micro/go-platform/db/plugin"
	pb "github.com/micro/go-platform/db/proto"
	"github.com/micro/go-platform/internal/lifecycle"
	judge "github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/internal/rpc"
	"github.com/micro/go-platform/internal/rpcerr"
)

// life hides the embedded lifecycle.Plugin from the documentation.
type life = lifecycle.Plugin

// platform calls db-srv.
type platform struct {
	*life
	mu      sync.RWMutex
	options Options
	invalid error
	service plugin.Service // set by open
	release func()
}

// NewDB returns the default plugin, which talks to db-srv. It does no I/O.
// Options with bad values are reported by Start and by every call.
func NewDB(opts ...Option) DB {
	p := &platform{options: NewOptions(opts...)}
	p.invalid = p.options.Validate()
	p.life = lifecycle.NewPlugin("db", lifecycle.Hooks{Check: p.check, Open: p.open, Close: p.shut})
	return p
}

func (p *platform) Init(opts ...Option) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	judge.Apply(&p.options, opts)
	p.invalid = p.options.Validate()
	return p.invalid
}

func (p *platform) Options() Options {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.options
}

func (p *platform) String() string { return "platform" }

func (p *platform) check() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.invalid
}

func (p *platform) open(context.Context) error {
	o := p.Options()
	if p.service, p.release = o.Service, func() {}; p.service != nil {
		return nil
	}
	var c client.Client
	c, p.release = rpc.Acquire(o.Client, o.TLS)
	p.service = pb.NewDBService(ServiceName, c)
	return nil
}

func (p *platform) shut() error {
	p.release()
	return nil
}

// prepare begins a call: it applies the options, starts the plugin and validates.
func prepare[T interface{ set(c *call) }](p *platform, opts []T) (*call, []client.CallOption, error) {
	o := p.Options()
	c := newCall(o, opts)
	if err := p.Use(c.ctx); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(p.check(), c.err()); err != nil { // Init may have changed the options since Start
		return nil, nil, err
	}
	return c, rpc.Options(o.Timeout), nil
}

func failed(ctx context.Context, method, id string, err error) error {
	return rpcerr.From(ctx, fmt.Sprintf("db: %s %.60q", method, id), err)
}

func (p *platform) Read(id string, opts ...ReadOption) (Record, error) {
	c, callOpts, err := prepare(p, opts)
	if err != nil {
		return nil, err
	}
	rsp, err := p.service.Read(c.ctx, &pb.ReadRequest{Database: c.place(), Id: id, Consistency: pb.Consistency(c.consistency)}, callOpts...)
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

func (p *platform) Create(r Record, opts ...CreateOption) error {
	c, callOpts, err := prepare(p, opts)
	if err != nil {
		return err
	}
	c.create = true
	return p.write("create", r, c, callOpts)
}

func (p *platform) Update(r Record, opts ...UpdateOption) error {
	c, callOpts, err := prepare(p, opts)
	if err != nil {
		return err
	}
	return p.write("update", r, c, callOpts)
}

func (p *platform) write(method string, r Record, c *call, callOpts []client.CallOption) error {
	if r == nil {
		return fmt.Errorf("db: %s: %w: the record is nil", method, ErrInvalid)
	}
	m, err := toMessage(r)
	if err != nil {
		return fmt.Errorf("db: %s %.60q: %w", method, r.Id(), err)
	}
	events := p.Options().Events
	if c.create {
		rsp, err := p.service.Create(c.ctx, &pb.CreateRequest{Database: c.place(), Record: m, Events: events, Token: c.token}, callOpts...)
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
	rsp, err := p.service.Update(c.ctx, req, callOpts...)
	if err != nil {
		return failed(c.ctx, "update", r.Id(), err)
	}
	c.stored(r, rsp.Record)
	return nil
}

func (p *platform) Delete(id string, opts ...DeleteOption) error {
	c, callOpts, err := prepare(p, opts)
	if err != nil {
		return err
	}
	req := &pb.DeleteRequest{Database: c.place(), Id: id, Events: p.Options().Events, Token: c.token}
	if c.match != nil {
		req.IfMatch = *c.match
	}
	_, err = p.service.Delete(c.ctx, req, callOpts...)
	return failed(c.ctx, "delete", id, err)
}

func (p *platform) Search(md Metadata, limit, offset int64, opts ...SearchOption) ([]Record, error) {
	c, callOpts, err := prepare(p, opts)
	if err != nil {
		return nil, err
	}
	req, err := c.search(md, limit, offset)
	if err != nil {
		return nil, fmt.Errorf("db: search: %w", err)
	}
	rsp, err := p.service.Search(c.ctx, req, callOpts...)
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
