package db

import (
	"fmt"

	"github.com/micro/go-platform/db/internal/scalar"
	pb "github.com/micro/go-platform/db/proto"
)

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
		v, err := scalar.New(value)
		if err != nil {
			return nil, fmt.Errorf("%w: metadata: %.60q: %w", ErrInvalid, key, err)
		}
		m.Metadata[key] = scalar.Text(v)
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
		r.metadata[key] = scalar.Of(v)
	}
	return r
}
