package db

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Metadata is what records are searched by. Values are strings of UTF-8, bools,
// integers and finite floats of any of Go's types; they come back as string,
// bool, int64 and float64.
type Metadata map[string]any

// Record is what is stored under an id.
type Record interface {
	// Id returns the id: 1 to MaxID bytes of UTF-8.
	Id() string
	// Created returns when the record was created, in unix seconds by the
	// service's clock; 0 before that.
	Created() int64
	// Updated returns when the record was created or last updated.
	Updated() int64
	// Metadata returns the metadata, which the caller must not change.
	Metadata() Metadata
	// Bytes returns the data, which the caller must not change.
	Bytes() []byte
	// Scan decodes the data from JSON into v; a *[]byte or *json.RawMessage gets
	// a copy of the data as it is. The error names the record's id.
	Scan(v any) error
	// ETag names this state of the record, for IfMatch; "" of a NewRecord.
	ETag() string
}

type record struct {
	id               string
	created, updated int64
	metadata         Metadata
	data             []byte
	etag             string
	err              error // of NewRecord, told by Create and Update
}

// NewRecord returns a record to create or update. Data of type []byte or
// json.RawMessage is stored as it is, any other as JSON; what cannot be encoded
// is an error of Create and Update. It keeps md and the bytes.
func NewRecord(id string, md Metadata, data any) Record {
	r := &record{id: id, metadata: md}
	switch d := data.(type) {
	case nil:
	case []byte:
		r.data = d
	case json.RawMessage:
		r.data = d
	default:
		var err error
		if r.data, err = json.Marshal(data); err != nil {
			r.err = fmt.Errorf("%w: data: %w", ErrInvalid, err)
		}
	}
	return r
}

func (r *record) Id() string         { return r.id }
func (r *record) Created() int64     { return r.created }
func (r *record) Updated() int64     { return r.updated }
func (r *record) Metadata() Metadata { return r.metadata }
func (r *record) Bytes() []byte      { return r.data }
func (r *record) ETag() string       { return r.etag }

func (r *record) Scan(v any) error {
	switch to := v.(type) {
	case *[]byte:
		*to = slices.Clone(r.data)
		return nil
	case *json.RawMessage:
		*to = slices.Clone(r.data)
		return nil
	}
	if len(r.data) == 0 {
		return fmt.Errorf("db: scan %.60q: the record has no data", r.id)
	}
	if err := json.Unmarshal(r.data, v); err != nil {
		return fmt.Errorf("db: scan %.60q: %w", r.id, err)
	}
	return nil
}
