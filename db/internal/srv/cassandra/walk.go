package cassandra

import (
	"context"
	"sync"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

// place is a row of the index.
type place struct{ value, id string }

func (p place) before(q place) bool { return p.value < q.value || p.value == q.value && p.id < q.id }

// walk merges the rows of a key's buckets.
type walk struct {
	key     string
	iters   [buckets]*gocql.Iter
	heads   [buckets]*place // nil at the end of a bucket
	errs    [buckets]error  // why it ended before its end
	reverse bool
	few     []place // instead of the buckets, see store.few
}

// span is the key to walk and the bounds of its values.
func span(q driver.Query) driver.Condition {
	all := driver.Condition{Key: q.Order, Low: "", High: "\U0010FFFF"} // kinds are letters
	if q.Order == "" {
		for _, c := range q.Where {
			if c.Exact {
				return c
			}
		}
		return driver.Condition{Key: self, Low: "s", High: "t"}
	}
	for _, c := range q.Where {
		if c.Key == q.Order {
			all.Low, all.High = max(all.Low, c.Low), min(all.High, c.High)
		}
	}
	return all
}

func (s *store) walk(ctx context.Context, table string, q driver.Query) (*walk, error) {
	if few, ok, err := s.few(ctx, table, q); ok || err != nil {
		return &walk{key: self, few: few}, err
	}
	c := span(q)
	// Bounds are pairs of a value and an id; no id is below the empty one.
	text := `SELECT v, id FROM {t} WHERE k = ? AND bucket = ? AND (v, id) >= (?, ?) AND (v, id) < (?, ?)`
	low, high := place{value: c.Low}, place{value: c.High}
	if q.After != nil {
		at := place{value: q.After.Value, id: q.After.ID}
		switch {
		case q.Order != "":
		case c.Key == self:
			at.value = idTerm(at.id)
		default:
			at.value = c.Low
		}
		switch {
		case q.Reverse && at.before(high):
			high = at
		case !q.Reverse && low.before(at):
			low = at
			text = `SELECT v, id FROM {t} WHERE k = ? AND bucket = ? AND (v, id) > (?, ?) AND (v, id) < (?, ?)`
		}
	}
	if q.Reverse {
		text += ` ORDER BY v DESC, id DESC, etag DESC`
	}
	w := &walk{key: c.Key, reverse: q.Reverse}
	if !low.before(high) {
		return w, nil
	}
	var group sync.WaitGroup
	for b := range buckets {
		group.Go(func() {
			w.iters[b] = s.query(table, text, c.Key, b, low.value, low.id, high.value, high.id).
				Consistency(level(q.Eventual)).PageSize(4 * batchSize).IterContext(ctx)
			w.step(b)
		})
	}
	group.Wait()
	return w, nil
}

func (w *walk) step(b int) {
	var p place
	if w.iters[b].Scan(&p.value, &p.id) {
		w.heads[b] = &p
		return
	}
	w.heads[b], w.errs[b] = nil, w.iters[b].Close()
}

// next returns the next places, at most n, and none at the end.
func (w *walk) next(n int) ([]place, error) {
	places := w.few[:min(n, len(w.few))]
	w.few = w.few[len(places):]
	for len(places) < n {
		first := -1
		for b, head := range w.heads {
			switch {
			case w.errs[b] != nil:
				return nil, w.errs[b]
			case head == nil:
			case first < 0 || !w.reverse && head.before(*w.heads[first]) || w.reverse && w.heads[first].before(*head):
				first = b
			}
		}
		if first < 0 {
			break
		}
		places = append(places, *w.heads[first])
		w.step(first)
	}
	return places, nil
}

func (w *walk) close() {
	for _, i := range w.iters {
		if i != nil {
			_ = i.Close() // next has told
		}
	}
}
