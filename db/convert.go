package db

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"unicode/utf8"

	pb "github.com/micro/go-platform/db/proto"
)

// toValue returns a metadata value as it travels.
func toValue(v any) (*pb.Value, error) {
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

// ValueOf returns a value as it stands in Metadata.
func ValueOf(v *pb.Value) any {
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

// ValueText returns a value as it stands in the text form of metadata.
func ValueText(v *pb.Value) string {
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

func toMessage(r Record) (*pb.Record, error) {
	if own, ok := r.(*record); ok && own.err != nil {
		return nil, own.err
	}
	m := &pb.Record{Id: r.Id(), Bytes: r.Bytes()}
	if len(m.Bytes) > MaxBytes { // it might not even fit into a message
		return nil, fmt.Errorf("%w: bytes: %d are more than %d", ErrInvalid, len(m.Bytes), MaxBytes)
	}
	if len(r.Metadata()) > 0 {
		m.Metadata = make(map[string]string, len(r.Metadata()))
	}
	for key, value := range r.Metadata() {
		v, err := toValue(value)
		if err != nil {
			return nil, fmt.Errorf("%w: metadata: %.60q: %w", ErrInvalid, key, err)
		}
		m.Metadata[key] = ValueText(v)
		if _, text := v.Kind.(*pb.Value_Text); !text {
			if m.Values == nil {
				m.Values = make(map[string]*pb.Value)
			}
			m.Values[key] = v
		}
	}
	return m, nil
}

func fromMessage(m *pb.Record) *record {
	r := &record{
		id: m.GetId(), created: m.GetCreated(), updated: m.GetUpdated(), etag: m.GetEtag(), data: m.GetBytes(),
		metadata: make(Metadata, len(m.GetMetadata())),
	}
	for key, text := range m.GetMetadata() {
		r.metadata[key] = text
	}
	for key, v := range m.GetValues() {
		r.metadata[key] = ValueOf(v)
	}
	return r
}
