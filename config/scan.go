package config

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"

	"github.com/micro/go-platform/config/internal/conftree"
)

// Scan implements Value.
func (n *node) Scan(v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("config: scan %s: %w: want a pointer, got %T", n.place(), ErrInvalid, v)
	}
	if n == nil || n.value == nil {
		return nil
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
	if n == nil {
		return "nothing"
	}
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
	return fmt.Errorf("config: scan: %w: %s", ErrInvalid, strings.Join(fields, "; "))
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
	case conftree.Number:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return "nothing"
}

// convert converts texts, numbers and bools as the getters do, and returns an error
// for what does not fit. Mapstructure does the rest.
func convert(from, to reflect.Value) (any, error) {
	value := from.Interface()
	if !to.IsValid() {
		return value, nil
	}
	if v, ok, err := special(value, to); ok || err != nil {
		return v, err
	}
	scalar, isScalar := text(value)
	switch {
	case to.Kind() == reflect.Interface:
		return native(value), nil
	case to.Kind() == reflect.Slice && isScalar && to.Type().Elem().Kind() != reflect.Uint8:
		all, _ := texts(value)
		return all, nil
	case !isScalar:
		return value, nil
	case to.CanInt() || to.CanUint():
		return whole(value, to)
	case to.CanFloat():
		if f, ok := conftree.Float64(digits(value)); ok && !to.OverflowFloat(f) {
			return f, nil
		}
		return nil, unfit(value, to)
	case to.Kind() == reflect.Bool:
		if b, ok := truth(value); ok {
			return b, nil
		}
		return nil, unfit(value, to)
	case to.Type() == reflect.TypeFor[json.Number]():
		return digits(value), nil
	case to.Kind() == reflect.String:
		return scalar, nil
	}
	return value, nil
}

func unfit(value any, to reflect.Value) error {
	return fieldError("want " + to.Type().String() + ", got " + kind(value) + " that is none or out of range")
}

// special converts to types that their kind alone does not determine, as
// time.Duration.
func special(value any, to reflect.Value) (_ any, ok bool, _ error) {
	switch to.Type() {
	case reflect.TypeFor[time.Duration]():
		if d, ok := duration(value); ok {
			return d, true, nil
		}
		return nil, false, fieldError("want " + aDuration + ", got " + kind(value))
	case reflect.TypeFor[time.Time]():
		if t, ok := instant(value); ok {
			return t, true, nil
		}
		return nil, false, fieldError("want a date or a time such as 2006-01-02T15:04:05Z, got " + kind(value))
	}
	if !to.CanAddr() {
		return nil, false, nil
	}
	switch u := to.Addr().Interface().(type) {
	case json.Unmarshaler:
		if err := u.UnmarshalJSON(conftree.Encode(value)); err != nil {
			return nil, false, fieldError("does not read as " + to.Type().String())
		}
		return to.Interface(), true, nil
	case encoding.TextUnmarshaler:
		s, ok := text(value)
		if !ok || u.UnmarshalText([]byte(s)) != nil {
			return nil, false, fieldError("does not read as " + to.Type().String())
		}
		return to.Interface(), true, nil
	}
	return nil, false, nil
}

// instant reads the times that TOML and YAML write without quotes.
func instant(value any) (time.Time, bool) {
	s, _ := value.(string)
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
		"2006-01-02 15:04:05.999999999", time.DateOnly,
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// native returns a value without types of conftree.
func native(value any) any {
	switch v := value.(type) {
	case conftree.Number:
		return v.Native()
	case []any:
		all := make([]any, len(v))
		for i, x := range v {
			all[i] = native(x)
		}
		return all
	case conftree.Tree:
		all := make(map[string]any, len(v))
		for key, x := range v {
			all[key] = native(x)
		}
		return all
	}
	return value
}

// whole refuses what does not fit exactly.
func whole(value any, to reflect.Value) (any, error) {
	if to.CanInt() {
		if i, ok := integer(value); ok && !to.OverflowInt(i) {
			return i, nil
		}
	} else if u, ok := conftree.Uint64(digits(value)); ok && !to.OverflowUint(u) {
		return u, nil
	}
	return nil, unfit(value, to)
}
