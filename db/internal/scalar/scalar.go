// Package scalar is the values of metadata as they travel: texts, numbers, bools.
package scalar

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"unicode/utf8"

	pb "github.com/micro/go-platform/db/proto"
)

// New returns a value of db.Metadata as it travels, or why it cannot be one.
func New(v any) (*pb.Value, error) {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.String:
		if !utf8.ValidString(r.String()) {
			return nil, errors.New("not UTF-8")
		}
		return &pb.Value{Kind: &pb.Value_Text{Text: r.String()}}, nil
	case reflect.Bool:
		return &pb.Value{Kind: &pb.Value_Flag{Flag: r.Bool()}}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &pb.Value{Kind: &pb.Value_Integer{Integer: r.Int()}}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if r.Uint() > math.MaxInt64 {
			return nil, fmt.Errorf("%d is more than an int64 holds", r.Uint())
		}
		return &pb.Value{Kind: &pb.Value_Integer{Integer: int64(r.Uint())}}, nil
	case reflect.Float32, reflect.Float64:
		if f := r.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%v is not finite", f)
		}
		return &pb.Value{Kind: &pb.Value_Real{Real: r.Float()}}, nil
	}
	return nil, fmt.Errorf("a %T is neither text, number nor bool", v)
}

// Of returns a value as it stands in db.Metadata.
func Of(v *pb.Value) any {
	switch k := v.GetKind().(type) {
	case *pb.Value_Text:
		return k.Text
	case *pb.Value_Integer:
		return k.Integer
	case *pb.Value_Real:
		return k.Real
	case *pb.Value_Flag:
		return k.Flag
	}
	return ""
}

// Text returns a value as it stands in the text form of metadata.
func Text(v *pb.Value) string {
	switch k := v.GetKind().(type) {
	case *pb.Value_Integer:
		return strconv.FormatInt(k.Integer, 10)
	case *pb.Value_Real:
		return strconv.FormatFloat(k.Real, 'g', -1, 64)
	case *pb.Value_Flag:
		return strconv.FormatBool(k.Flag)
	}
	return v.GetText()
}
