// Package page is how our services answer a query page by page: what a limit
// and an offset may be, and which part of the answer they stand for.
package page

import "github.com/micro/go-platform/internal/rpcerr"

// The size of a page whose query says none, and the most that a query gets.
const (
	Default = 100
	Max     = 1000
)

// Check refuses what is negative, and makes the limit the size of the page: a
// larger one is not an error, its query gets less.
func Check(limit, offset *int64) error {
	switch {
	case *limit < 0:
		return rpcerr.Invalid("limit", "%d is negative", *limit)
	case *offset < 0:
		return rpcerr.Invalid("offset", "%d is negative", *offset)
	case *limit == 0:
		*limit = Default
	}
	*limit = min(*limit, Max)
	return nil
}

// Cut returns the page of all that was Checked, empty when the offset is behind
// its end.
func Cut[T any](all []T, limit, offset int64) []T {
	all = all[min(offset, int64(len(all))):]
	return all[:min(limit, int64(len(all)))]
}
