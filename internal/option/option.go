// Package option judges options, in the same words in every feature:
//
//	kv: option Timeout: -1s is not positive
package option

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Checks collects what is wrong with the options of a feature.
type Checks struct {
	pkg  string
	errs []error
}

// Of returns Checks for the options of the feature pkg.
func Of(pkg string) *Checks { return &Checks{pkg: pkg} }

// invalid is an ErrInvalid that does not repeat its text.
type invalid string

func (e invalid) Error() string        { return string(e) }
func (e invalid) Is(target error) bool { return target == rpcerr.ErrInvalid }

// That adds an error about the option name unless ok. The text gives the value
// and the bound that it is beyond, and never a secret, such as the password of a
// URL.
func (c *Checks) That(ok bool, name, format string, args ...any) {
	if !ok {
		c.errs = append(c.errs, invalid(c.pkg+": option "+name+": "+fmt.Sprintf(format, discreet(args)...)))
	}
}

// discreet takes the passwords out before a format cuts the texts that have them.
func discreet(args []any) []any {
	made := slices.Clone(args)
	for i, a := range made {
		switch a := a.(type) {
		case string:
			made[i] = clean.URLs(a)
		case []string:
			all := slices.Clone(a)
			for i, one := range all {
				all[i] = clean.URLs(one)
			}
			made[i] = all
		case error:
			made[i] = clean.URLError(a)
		}
	}
	return made
}

// Positive demands a duration above 0.
func (c *Checks) Positive(name string, d time.Duration) {
	c.That(d > 0, name, "%v is not positive", d)
}

// Within demands a value from low to high.
func Within[T cmp.Ordered](c *Checks, name string, v, low, high T) {
	c.That(low <= v && v <= high, name, "%v is not within %v to %v", v, low, high)
}

// AtLeast demands a value of low or more.
func AtLeast[T cmp.Ordered](c *Checks, name string, v, low T) {
	c.That(v >= low, name, "%v is less than %v", v, low)
}

// Err returns all that is wrong, each error matching rpcerr.ErrInvalid, or nil.
func (c *Checks) Err() error { return errors.Join(c.errs...) }

// Apply applies opts to o in turn. It skips a nil option, which a caller that
// chooses options by a condition may leave behind.
func Apply[T any, O ~func(*T)](o *T, opts []O) {
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
}
