package kv

import (
	"context"
	"slices"
	"time"

	pb "github.com/micro/go-platform/kv/proto"
)

// Get implements KV. Where one answer is enough and the item is here, it is read
// without further ado, if this member may still answer when it has read.
func (p *platform) Get(key string, opts ...CallOption) (*Item, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if v := p.view.Load(); v != nil && len(opts) == 0 {
		if read, _ := p.quorum(v.ring.replicas); read == 1 {
			if slot := slotOf(key); v.ring.owns(slot, v.self) && v.ready(slot) {
				item := p.here(key)
				if !p.strict(v.ring.replicas) || p.lease.Load().holds(v) {
					return found(key, item)
				}
			}
		}
	}
	o, cancel := NewCallOptions(p.options.Timeout, opts...)
	defer cancel()
	if _, err := p.use(o.Context); err != nil {
		return nil, err
	}
	r, err := p.flights.do(o.Context, key, func() (*pb.Record, error) { return p.read(o.Context, key) })
	if err != nil {
		return nil, err
	}
	return found(key, fromRecord(key, r))
}

func found(key string, item *Item) (*Item, error) {
	if item == nil {
		return nil, Failed("get", key, ErrNotFound)
	}
	return item, nil
}

// here returns the item that this member keeps, or nil if it keeps none.
func (p *platform) here(key string) *Item {
	r, ok := p.records.cache.Get(key)
	if !ok || r.gone {
		return nil
	}
	item := &Item{Key: key, Value: slices.Clone(r.value)}
	if r.deadline > 0 {
		if item.Expiration = r.deadline - p.records.now(); item.Expiration <= 0 {
			return nil
		}
	}
	return item
}

// Put implements KV.
func (p *platform) Put(item *Item, opts ...CallOption) error {
	if err := CheckItem(item); err != nil {
		return err
	}
	return p.change("put", &pb.Record{Key: []byte(item.Key), Value: slices.Clone(item.Value), TtlMs: Milliseconds(item.Expiration)}, opts)
}

// Del implements KV: it writes that the item is gone.
func (p *platform) Del(key string, opts ...CallOption) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	return p.change("del", &pb.Record{Key: []byte(key), Gone: true}, opts)
}

func (p *platform) change(doing string, r *pb.Record, opts []CallOption) error {
	o, cancel := NewCallOptions(p.options.Timeout, opts...)
	defer cancel()
	if _, err := p.use(o.Context); err != nil {
		return err
	}
	return p.write(o.Context, doing, r, o.Token)
}

// GetMany implements Many: one request to each member that is asked. Keys whose
// owners did not agree are then read one by one.
func (p *platform) GetMany(keys []string, opts ...CallOption) (map[string]*Item, error) {
	if err := CheckKeys(keys); err != nil {
		return nil, err
	}
	o, cancel := NewCallOptions(p.options.Timeout, opts...)
	defer cancel()
	v, err := p.use(o.Context)
	if err != nil {
		return nil, err
	}
	answers, err := p.askMany(o.Context, v, keys)
	if err != nil {
		return nil, err
	}
	items := make(map[string]*Item, len(keys))
	need, write := p.quorum(v.ring.replicas)
	for _, key := range keys {
		best, same := newest(answers[key])
		if len(answers[key]) < max(1, need) || need > 1 && (same < len(answers[key]) || same < write && best != nil) {
			if best, err = p.read(o.Context, key); err != nil {
				return nil, err
			}
		}
		if item := fromRecord(key, best); item != nil {
			items[key] = item
		}
	}
	return items, nil
}

// askMany waits for all members asked, but not longer than for members that do
// not answer: what is missing is then read otherwise.
func (p *platform) askMany(ctx context.Context, v *view, keys []string) (map[string][]answer, error) {
	need, _ := p.quorum(v.ring.replicas)
	ops := make(map[int][]*pb.Op)
	seen := make(map[string]bool, len(keys))
	for _, key := range keys {
		if seen[key] {
			continue
		}
		seen[key] = true
		for _, to := range p.order(v, slotOf(key))[:need] {
			ops[to] = append(ops[to], &pb.Op{Kind: pb.Op_READ, Record: &pb.Record{Key: []byte(key)}})
		}
	}
	parts := p.scatter(v, ops)
	timer := time.NewTimer(10 * hedge)
	defer timer.Stop()
	answers := make(map[string][]answer, len(keys))
	for range ops {
		select {
		case got := <-parts:
			for i, r := range got.results { // none after an error
				if !r.Unready {
					key := string(ops[got.from][i].Record.Key)
					answers[key] = append(answers[key], answer{from: got.from, result: r})
				}
			}
		case <-timer.C:
			return answers, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return answers, nil
}

// part is what one member answered to several operations.
type part struct {
	from    int
	results []*pb.Result // none after an error
}

// scatter has members of the view do operations, and returns a channel with an
// answer of each.
func (p *platform) scatter(v *view, ops map[int][]*pb.Op) <-chan part {
	parts := make(chan part, len(ops))
	for to, ops := range ops {
		p.send(v, to, ops, func(results []*pb.Result, _ error) { parts <- part{to, results} })
	}
	return parts
}
