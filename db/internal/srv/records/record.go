package records

import (
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/internal/scalar"
	"github.com/micro/go-platform/db/internal/srv/driver"
	pb "github.com/micro/go-platform/db/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{rpcerr.ErrInvalid}, args...)...)
}

// place returns the names of a database and a table, which from here on can be
// put into any statement.
func place(d *pb.Database) (database, table string, err error) {
	database, table = d.GetName(), d.GetTable()
	if database == "" {
		database = db.DefaultDatabase
	}
	if table == "" {
		table = db.DefaultTable
	}
	const want = "want at most %d of a-z, 0-9 and _, a letter first"
	switch {
	case !db.ValidName(database):
		err = invalid("database.name: "+want, db.MaxName)
	case !db.ValidName(table):
		err = invalid("database.table: "+want, db.MaxName)
	}
	return database, table, err
}

func checkID(field, id string) error {
	if id == "" || len(id) > db.MaxID || !utf8.ValidString(id) {
		return invalid("%s: want 1 to %d bytes of UTF-8", field, db.MaxID)
	}
	return nil
}

// toDriver validates a record and reads off what it is found by.
func toDriver(m *pb.Record) (*driver.Record, error) {
	if m == nil {
		return nil, invalid("record: missing")
	}
	if err := checkID("record.id", m.Id); err != nil {
		return nil, err
	}
	if len(m.Bytes) > db.MaxBytes {
		return nil, invalid("record.bytes: more than %d", db.MaxBytes)
	}
	values, err := checkMetadata(m)
	if err != nil {
		return nil, err
	}
	r := &driver.Record{ID: m.Id, Data: m.Bytes, Terms: make([]driver.Term, 0, len(values))}
	for key, v := range values {
		r.Terms = append(r.Terms, driver.Term{Key: key, Value: term(v)})
	}
	// In one order always, so that drivers can tell whether it changed.
	r.Metadata, err = proto.MarshalOptions{Deterministic: true}.Marshal(&pb.Record{Values: values})
	return r, err
}

func checkMetadata(m *pb.Record) (map[string]*pb.Value, error) {
	values := make(map[string]*pb.Value, len(m.Metadata))
	for key, text := range m.Metadata {
		values[key] = &pb.Value{Kind: &pb.Value_Text{Text: text}}
	}
	for key, v := range m.Values {
		values[key] = v
	}
	if len(values) > db.MaxKeys {
		return nil, invalid("record.metadata: more than %d keys", db.MaxKeys)
	}
	size := 0
	for key, v := range values {
		if err := checkKey("record.metadata", key); err != nil {
			return nil, err
		}
		n, err := checkValue(v)
		if err != nil {
			return nil, invalid("record.values: %.60q: %v", key, err)
		}
		size += len(key) + n
	}
	if size > db.MaxMetadata {
		return nil, invalid("record.metadata: more than %d bytes", db.MaxMetadata)
	}
	return values, nil
}

func checkKey(field, key string) error {
	if key == "" || len(key) > db.MaxKey || !utf8.ValidString(key) {
		return invalid("%s: a key is not of 1 to %d bytes of UTF-8", field, db.MaxKey)
	}
	return nil
}

// checkValue returns the size of a value.
func checkValue(v *pb.Value) (int, error) {
	switch k := v.GetKind().(type) {
	case *pb.Value_Text:
		if !utf8.ValidString(k.Text) {
			return 0, fmt.Errorf("not UTF-8")
		}
		return len(k.Text), nil
	case *pb.Value_Integer:
		return 8, nil
	case *pb.Value_Real:
		if math.IsNaN(k.Real) || math.IsInf(k.Real, 0) {
			return 0, fmt.Errorf("not a finite number")
		}
		return 8, nil
	case *pb.Value_Flag:
		return 1, nil
	}
	return 0, fmt.Errorf("no value")
}

// values decodes stored metadata.
func values(metadata []byte) (map[string]*pb.Value, error) {
	var m pb.Record
	if err := proto.Unmarshal(metadata, &m); err != nil {
		return nil, fmt.Errorf("stored metadata: %w", err)
	}
	return m.Values, nil
}

// Metadata decodes stored metadata for programs.
func Metadata(stored []byte) (db.Metadata, error) {
	all, err := values(stored)
	if err != nil {
		return nil, err
	}
	md := make(db.Metadata, len(all))
	for key, v := range all {
		md[key] = scalar.Of(v)
	}
	return md, nil
}

// fromDriver returns a record as it travels.
func fromDriver(r *driver.Record) (*pb.Record, error) {
	stored, err := values(r.Metadata)
	if err != nil {
		return nil, err
	}
	m := &pb.Record{Id: r.ID, Created: r.Created, Updated: r.Updated, Etag: r.ETag, Bytes: r.Data}
	if len(stored) > 0 {
		m.Metadata = make(map[string]string, len(stored))
	}
	for key, v := range stored {
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
