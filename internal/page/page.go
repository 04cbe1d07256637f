// Package page is how our services answer a query page by page: what a limit
// and an offset may be, and which part of the answer they stand for.
package page

import (
	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/internal/rpcerr"
)

// The size of a page whose query says none, and the most that a query gets.
const (
	Default = 100
	Max     = 1000
)

// Bytes bounds the entries of one message, unless a single one is larger: go-micro's
// default client takes messages of 4 MiB.
const Bytes = 3 << 20

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
// its end. It ends before Bytes: the next one begins where it ended.
func Cut[T proto.Message](all []T, limit, offset int64) []T {
	all = all[min(offset, int64(len(all))):]
	return all[:Fit(all, int(min(limit, int64(len(all)))))]
}

// Fit returns how many of the first entries, at most so many, go into one message:
// at least one, if there is any.
func Fit[T proto.Message](all []T, most int) int {
	const frame = 10 // tag and length of an entry
	most = min(most, len(all))
	for i, bytes := 0, 0; i < most; i++ {
		if bytes += proto.Size(all[i]) + frame; bytes > Bytes && i > 0 {
			return i
		}
	}
	return most
}
