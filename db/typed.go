package db

// Get reads a record and decodes its data from JSON, or copies it for a T of
// []byte. Returning gives the record itself, with its etag.
func Get[T any](d DB, id string, opts ...ReadOption) (T, error) {
	var v T
	r, err := d.Read(id, opts...)
	if err != nil {
		return v, err
	}
	return v, r.Scan(&v)
}

// Put stores v as JSON, or as it is when it is a []byte, whether there was a
// record or not; IfMatch and CreateOnly make it conditional. Metadata is that of
// WithMetadata, else none.
func Put[T any](d DB, id string, v T, opts ...PutOption) error {
	var c call
	fit := make([]UpdateOption, 0, len(opts)+1)
	for _, opt := range opts {
		if opt == nil {
			continue
		}
		opt.set(&c)
		fit = append(fit, option(opt.set)) // the record has the metadata
	}
	if !c.create && c.match == nil {
		fit = append(fit, Upsert())
	}
	return d.Update(NewRecord(id, c.metadata, v), fit...)
}
