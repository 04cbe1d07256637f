package config

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"

	"github.com/micro/go-platform/config/internal/conftree"
)

// Scan implements Value.
func (n *node) Scan(v any) error {
	if n == nil {
		return fmt.Errorf("scan: %w", ErrNotFound)
	}
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("scan %s: %w: want a pointer, got %T", n.place(), ErrInvalid, v)
	}
	// Into a copy, so that an error changes nothing.
	fresh := reflect.New(target.Type().Elem())
	fresh.Elem().Set(target.Elem())
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: fresh.Interface(), TagName: "json", Squash: true, WeaklyTypedInput: true,
		DecodeHook: mapstructure.DecodeHookFuncValue(convert),
	})
	if err == nil {
		err = d.Decode(n.value)
	}
	if err != nil {
		return n.scanError(err)
	}
	target.Elem().Set(fresh.Elem())
	return nil
}

func (n *node) place() string {
	if n.path == "" {
		return "all values"
	}
	return n.path
}

// scanError names the path of each field. It shows no values: one of them may
// be a secret.
func (n *node) scanError(err error) error {
	var fields []string
	each(err, func(e *mapstructure.DecodeError) {
		name := strings.TrimPrefix(e.Name(), ".")
		if n.path != "" && name != "" {
			name = "." + name
		}
		fields = append(fields, n.path+name+": "+cause(e.Unwrap()))
	})
	if fields == nil {
		fields = []string{n.place() + ": does not fit"}
	}
	return fmt.Errorf("scan: %w: %s", ErrInvalid, strings.Join(fields, "; "))
}

// each finds the innermost errors that name a field.
func each(err error, f func(*mapstructure.DecodeError)) {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		for _, e := range many.Unwrap() {
			each(e, f)
		}
		return
	}
	var one *mapstructure.DecodeError
	if errors.As(err, &one) {
		f(one)
	}
}

func cause(err error) string {
	var wrong *mapstructure.UnconvertibleTypeError
	var unparsed *mapstructure.ParseError
	var ours fieldError
	switch {
	case errors.As(err, &ours):
		return string(ours)
	case errors.As(err, &wrong):
		return fmt.Sprintf("want %s, got %s", wrong.Expected.Type(), kind(wrong.Value))
	case errors.As(err, &unparsed):
		return fmt.Sprintf("want %s, got a text that is none", unparsed.Expected.Type())
	}
	return "does not fit"
}

type fieldError string

func (e fieldError) Error() string { return string(e) }

func kind(v any) string {
	switch v.(type) {
	case string:
		return "a text"
	case bool:
		return "a bool"
	case int64, uint64, float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return "nothing"
}

// convert is what encoding/json would do, and what mapstructure does without a
// look at the range.
func convert(from, to reflect.Value) (any, error) {
	value := from.Interface()
	if !to.IsValid() {
		return value, nil
	}
	if to.Type() == reflect.TypeFor[time.Duration]() {
		return duration(value)
	}
	if to.CanAddr() {
		switch u := to.Addr().Interface().(type) {
		case json.Unmarshaler:
			if err := u.UnmarshalJSON(conftree.Encode(value)); err != nil {
				return nil, fieldError("does not read as " + to.Type().String())
			}
			return to.Interface(), nil
		case encoding.TextUnmarshaler:
			s, ok := value.(string)
			if !ok || u.UnmarshalText([]byte(s)) != nil {
				return nil, fieldError("does not read as " + to.Type().String())
			}
			return to.Interface(), nil
		}
	}
	switch {
	case to.CanInt() || to.CanUint():
		return whole(value, to)
	case to.Kind() == reflect.Slice:
		if s, ok := value.(string); ok && to.Type().Elem().Kind() == reflect.String {
			return (&node{value: s}).StringSlice(nil), nil
		}
	}
	return value, nil
}

func duration(value any) (any, error) {
	if s, ok := value.(string); ok {
		if d, err := time.ParseDuration(s); err == nil {
			return d, nil
		}
	}
	if i, ok := integer(value); ok {
		return time.Duration(i), nil
	}
	return nil, fieldError("want a duration such as 1m30s, got " + kind(value))
}

// whole refuses what does not fit exactly.
func whole(value any, to reflect.Value) (any, error) {
	if _, isBool := value.(bool); isBool {
		return nil, fieldError("want " + to.Type().String() + ", got a bool")
	}
	if to.CanInt() {
		if i, ok := integer(value); ok && !to.OverflowInt(i) {
			return i, nil
		}
	} else if u, ok := unsigned(value); ok && !to.OverflowUint(u) {
		return u, nil
	}
	return nil, fieldError("want " + to.Type().String() + ", got " + kind(value) + " that is none or out of range")
}

func unsigned(value any) (uint64, bool) {
	switch v := value.(type) {
	case uint64:
		return v, true
	case string:
		u, err := strconv.ParseUint(v, 10, 64)
		return u, err == nil
	}
	i, ok := integer(value)
	return uint64(max(i, 0)), ok && i >= 0
}
