package db

import (
	"fmt"
)

// Get reads a record and decodes its data from JSON, or copies it for a T of
// []byte. Returning gives the record itself, with its etag.
func Get[T any](d DB, id string, opts ...CallOption) (T, error) {
	var v T
	r, err := d.Read(id, opts...)
	if err != nil {
		return v, err
	}
	if err := r.Scan(&v); err != nil {
		return v, fmt.Errorf("record %.60q: %w", id, err)
	}
	return v, nil
}

// Put stores v as JSON, or as it is when it is a []byte, whether there was a
// record or not; IfMatch and CreateOnly make it conditional. Metadata is that of
// WithMetadata, else none.
func Put[T any](d DB, id string, v T, opts ...CallOption) error {
	var c call
	for _, opt := range opts {
		opt(&c)
	}
	r := NewRecord(id, c.metadata, v)
	opts = append(opts[:len(opts):len(opts)], func(c *call) { c.given &^= forPut }) // r has them
	switch {
	case c.create:
		return d.Create(r, opts...)
	case c.match != nil:
		return d.Update(r, opts...)
	}
	return d.Update(r, append(opts, Upsert())...)
}
