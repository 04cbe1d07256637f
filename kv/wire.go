package kv

import (
	"fmt"
	"slices"
	"time"

	pb "github.com/micro/go-platform/kv/proto"
)

// fromWire reads the item of the contract, whose milliseconds win over its
// seconds.
func fromWire(m *pb.Item) (*Item, error) {
	if m == nil {
		return nil, fmt.Errorf("kv: %w: no item", ErrInvalid)
	}
	const most = int64(MaxTTL / time.Millisecond)
	item := &Item{Key: keyOf(m.Key, m.RawKey), Value: m.Value}
	ms := m.TtlMs
	if ms == 0 && m.Expiration <= most/1000 {
		ms = m.Expiration * 1000
	}
	if ms < 0 || ms > most || m.Expiration < 0 || m.Expiration > most/1000 {
		return nil, fmt.Errorf("kv: %w: expiration of %d s, %d ms", ErrInvalid, m.Expiration, m.TtlMs)
	}
	item.Expiration = time.Duration(ms) * time.Millisecond
	return item, CheckItem(item)
}

// checkOp keeps what other members send within the limits.
func checkOp(op *pb.Op) error {
	r := op.GetRecord()
	switch {
	case r == nil:
		return fmt.Errorf("kv: %w: operation without a record", ErrInvalid)
	case len(r.Value) > MaxValue:
		return fmt.Errorf("kv: %w: a value of %s is above %d", ErrInvalid, byteCount(len(r.Value)), MaxValue)
	case r.TtlMs < 0 || r.TtlMs > int64(MaxTTL/time.Millisecond)+1:
		return fmt.Errorf("kv: %w: expiration of %d ms", ErrInvalid, r.TtlMs)
	}
	return CheckKey(string(r.Key))
}

// fromRecord returns the item of a record, or nil if it is gone. The value is a
// copy.
func fromRecord(key string, r *pb.Record) *Item {
	if r == nil || r.Gone {
		return nil
	}
	return &Item{Key: key, Value: slices.Clone(r.Value), Expiration: time.Duration(r.TtlMs) * time.Millisecond}
}
