package driver

import "strings"

// Holds reports whether all conditions hold for the terms, by their keys.
func Holds(where []Condition, value func(key string) (string, bool)) bool {
	for _, c := range where {
		if v, ok := value(c.Key); !ok || v < c.Low || v >= c.High {
			return false
		}
	}
	return true
}

// term returns the value of a term of the record.
func (r *Record) term(key string) (string, bool) {
	for _, t := range r.Terms {
		if t.Key == key {
			return t.Value, true
		}
	}
	return "", false
}

// Matches reports whether the query, whatever its limit and offset, finds the
// record, whose Terms must be there. It is for stores that have nothing better.
func (q Query) Matches(r *Record) bool {
	if !Holds(q.Where, r.term) {
		return false
	}
	value, ordered := r.term(q.Order)
	if q.Order != "" && !ordered {
		return false
	}
	return q.After == nil || q.compare(value, r.ID, q.After.Value, q.After.ID) > 0
}

// Compare is the order of records that match.
func (q Query) Compare(a, b *Record) int {
	left, _ := a.term(q.Order) // both have it, or there is no key
	right, _ := b.term(q.Order)
	return q.compare(left, a.ID, right, b.ID)
}

func (q Query) compare(leftValue, leftID, rightValue, rightID string) int {
	n := 0
	if q.Order != "" {
		n = strings.Compare(leftValue, rightValue)
	}
	if n == 0 {
		n = strings.Compare(leftID, rightID)
	}
	if q.Reverse {
		n = -n
	}
	return n
}
