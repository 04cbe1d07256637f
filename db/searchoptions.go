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
func Where(key string, op Op, value any) CallOption {
	return func(c *call) {
		c.given |= forSearches
		o, ok := op.wire()
		if !ok {
			c.bad("option Where: %.20q is no comparison", op)
		}
		v, err := scalar.New(value)
		if err != nil {
			c.bad("option Where: %.60q: %v", key, err)
		}
		c.where = append(c.where, &pb.Condition{Key: key, Op: o, Value: v})
	}
}

// OrderBy orders what Search returns by a metadata value: bools, then numbers,
// then texts; equal ones by id. Records without the key are left out.
func OrderBy(key string) CallOption {
	return func(c *call) {
		c.order, c.given = key, c.given|forSearches
		if key == "" {
			c.bad("option OrderBy: empty")
		}
	}
}

// Descending reverses the order of Search, ids included.
func Descending() CallOption { return func(c *call) { c.reverse, c.given = true, c.given|forSearches } }

// After makes Search begin behind a record, the last of the page before, which
// needs not exist any more. Unlike an offset this misses and repeats nothing
// when other records come and go, and does not cost what lies before it. The
// other options must be those of that page. Nil begins at the beginning.
func After(last Record) CallOption {
	return func(c *call) { c.after, c.given = last, c.given|forSearches }
}

// More sets *more to whether there are further records.
func More(more *bool) CallOption {
	return func(c *call) { c.more, c.given = more, c.given|forSearches }
}

// Each walks over all records that match, page by page, until one fails.
func Each(d DB, md Metadata, opts ...CallOption) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var last Record
		for more := true; more; {
			page := append(opts[:len(opts):len(opts)], More(&more))
			if last != nil {
				page = append(page, After(last))
			}
			found, err := d.Search(md, 0, 0, page...)
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
