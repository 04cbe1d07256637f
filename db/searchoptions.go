package db

import (
	"iter"

	"github.com/micro/go-platform/db/internal/scalar"
	pb "github.com/micro/go-platform/db/proto"
)

// Op compares a metadata value in a condition of Where.
type Op string

// The comparisons. Texts are compared byte by byte, false is less than true,
// and values of different kinds match none of them. Prefix is for texts; it has
// no wildcards.
const (
	Equal   Op = "="
	Less    Op = "<"
	AtMost  Op = "<="
	Greater Op = ">"
	AtLeast Op = ">="
	Prefix  Op = "prefix"
)

func (op Op) wire() (pb.Condition_Op, bool) {
	switch op {
	case Equal:
		return pb.Condition_EQUAL, true
	case Less:
		return pb.Condition_LESS, true
	case AtMost:
		return pb.Condition_AT_MOST, true
	case Greater:
		return pb.Condition_GREATER, true
	case AtLeast:
		return pb.Condition_AT_LEAST, true
	case Prefix:
		return pb.Condition_PREFIX, true
	}
	return 0, false
}

// Where makes Search return only records whose metadata have the key with a
// value that compares so. All conditions must hold; MaxWhere at most.
func Where(key string, op Op, value any) SearchOption {
	return option(func(c *call) {
		o, ok := op.wire()
		if !ok {
			c.bad("Where", "%.20q is not a comparison", op)
		}
		v, err := scalar.New(value)
		if err != nil {
			c.bad("Where", "%.60q: %v", key, err)
		}
		c.where = append(c.where, &pb.Condition{Key: key, Op: o, Value: v})
	})
}

// OrderBy orders what Search returns by a metadata value: bools, then numbers,
// then texts; equal ones by id. Records without the key are left out.
func OrderBy(key string) SearchOption {
	return option(func(c *call) {
		c.order = key
		if key == "" {
			c.bad("OrderBy", "empty")
		}
	})
}

// Descending reverses the order of Search, ids included.
func Descending() SearchOption { return option(func(c *call) { c.reverse = true }) }

// After makes Search begin behind last, the last record of the page before, which
// need not exist any more. Unlike an offset it misses and repeats nothing when
// other records come and go. The other options must be those of that page. A nil
// last begins at the beginning.
func After(last Record) SearchOption { return option(func(c *call) { c.after = last }) }

// More sets *more to whether there are further records.
func More(more *bool) SearchOption { return option(func(c *call) { c.more = more }) }

// Each iterates over all records that match, in pages of MaxLimit. It yields the
// error of a page that fails, and ends.
func Each(d DB, md Metadata, opts ...SearchOption) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var last Record
		for more := true; more; {
			page := append(opts[:len(opts):len(opts)], More(&more))
			if last != nil {
				page = append(page, After(last))
			}
			found, err := d.Search(md, MaxLimit, 0, page...)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, r := range found {
				if !yield(r, nil) {
					return
				}
				last = r
			}
			more = more && len(found) > 0
		}
	}
}
