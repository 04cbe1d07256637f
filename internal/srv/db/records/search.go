package records

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/micro/go-platform/db"
	pb "github.com/micro/go-platform/db/proto"
	"github.com/micro/go-platform/internal/srv/db/driver"
)

// toQuery validates a search.
func toQuery(req *pb.SearchRequest) (driver.Query, error) {
	q := driver.Query{Order: req.Order, Reverse: req.Reverse, Offset: int(req.Offset), Eventual: req.Consistency == pb.Consistency_EVENTUAL}
	switch {
	case req.Limit < 0:
		return q, invalid("limit: %d is negative", req.Limit)
	case req.Offset < 0 || req.Offset > db.MaxOffset:
		return q, invalid("offset: %d is not within 0..%d", req.Offset, db.MaxOffset)
	case req.After != nil && req.Offset > 0:
		return q, invalid("offset: not together with after")
	case len(req.Metadata)+len(req.Conditions) > db.MaxWhere:
		return q, invalid("conditions: more than %d, metadata included", db.MaxWhere)
	case pb.Consistency_name[int32(req.Consistency)] == "":
		return q, invalid("consistency: %d is unknown", req.Consistency)
	}
	q.Limit = int(min(req.Limit, db.MaxLimit))
	if q.Limit == 0 {
		q.Limit = db.DefaultLimit
	}
	for key, text := range req.Metadata {
		c := &pb.Condition{Key: key, Value: &pb.Value{Kind: &pb.Value_Text{Text: text}}}
		if err := where(&q, "metadata", c); err != nil {
			return q, err
		}
	}
	for _, c := range req.Conditions {
		if err := where(&q, "conditions", c); err != nil {
			return q, err
		}
	}
	return q, toOrder(&q, req)
}

func where(q *driver.Query, field string, c *pb.Condition) error {
	if err := checkKey(field, c.GetKey()); err != nil {
		return err
	}
	n, err := checkValue(c.GetValue())
	_, text := c.GetValue().GetKind().(*pb.Value_Text)
	switch {
	case err != nil:
		return invalid("%s: %.60q: %v", field, c.Key, err)
	case n > db.MaxMetadata:
		return invalid("%s: %.60q: longer than any value", field, c.Key)
	case pb.Condition_Op_name[int32(c.Op)] == "":
		return invalid("%s: op: %d is unknown", field, c.Op)
	case c.Op == pb.Condition_PREFIX && !text:
		return invalid("%s: %.60q: only a text is a prefix", field, c.Key)
	}
	q.Where = append(q.Where, condition(c.Key, c.Op, c.Value))
	return nil
}

func toOrder(q *driver.Query, req *pb.SearchRequest) error {
	if q.Order != "" {
		if err := checkKey("order", q.Order); err != nil {
			return err
		}
	}
	if req.After == nil {
		return nil
	}
	if len(req.After.Id) > db.MaxID || !utf8.ValidString(req.After.Id) {
		return invalid("after.id: more than %d bytes of UTF-8", db.MaxID)
	}
	q.After = &driver.Cursor{ID: req.After.Id}
	if q.Order == "" {
		return nil
	}
	if _, err := checkValue(req.After.Value); err != nil {
		return invalid("after.value: %v", err)
	}
	q.After.Value = term(req.After.Value)
	return nil
}

// The records that are fetched at once: the first time, and at least.
const (
	firstChunk = 32
	leastChunk = 8
)

// collect fetches a page chunk by chunk, since nobody knows how large the
// records are, until it has the limit or as much as fits into a message.
func collect(ctx context.Context, s driver.Store, table string, q driver.Query, rsp *pb.SearchResponse) error {
	limit, size := q.Limit, 0
	q.Limit = min(limit+1, firstChunk)
	for {
		found, err := s.Search(ctx, table, q)
		if err != nil {
			return err
		}
		for _, r := range found {
			n := len(r.Data) + 3*len(r.Metadata) + len(r.ID) + 128
			if len(rsp.Records) == limit || len(rsp.Records) > 0 && size+n > db.MaxAnswer {
				rsp.More = true
				return nil
			}
			m, err := fromDriver(r)
			if err != nil {
				return err
			}
			size += n
			rsp.Records = append(rsp.Records, m)
		}
		if len(found) < q.Limit {
			return nil
		}
		if q.After, err = cursor(q.Order, found[len(found)-1]); err != nil {
			return err
		}
		q.Offset = 0
		average := max(size/len(rsp.Records), 1)
		q.Limit = min(limit+1-len(rsp.Records), max(db.MaxAnswer/average, leastChunk))
	}
}

// cursor is where the next chunk begins.
func cursor(order string, last *driver.Record) (*driver.Cursor, error) {
	c := &driver.Cursor{ID: last.ID}
	if order == "" {
		return c, nil
	}
	stored, err := values(last.Metadata)
	if err != nil {
		return nil, err
	}
	v, ok := stored[order]
	if !ok {
		return nil, fmt.Errorf("a record without %q was ordered by it", order)
	}
	c.Value = term(v)
	return c, nil
}
