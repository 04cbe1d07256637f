package records

import (
	"context"
	"unicode/utf8"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/internal/srv/driver"
	pb "github.com/micro/go-platform/db/proto"
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

// collect fetches a page, as much as fits into a message. The driver is asked
// for one record too many, which tells that there are more.
func collect(ctx context.Context, s driver.Store, table string, q driver.Query, rsp *pb.SearchResponse) error {
	limit, size := q.Limit, 0
	q.Limit, q.Bytes = limit+1, db.MaxAnswer
	found, err := s.Search(ctx, table, q)
	if err != nil {
		return err
	}
	for i, r := range found {
		size += r.Size()
		if i == limit || i > 0 && size > db.MaxAnswer {
			rsp.More = true
			return nil
		}
		m, err := fromDriver(r)
		if err != nil {
			return err
		}
		rsp.Records = append(rsp.Records, m)
	}
	return nil
}
