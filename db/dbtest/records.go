package dbtest

import (
	stdbytes "bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/db"
)

func crud(t *testing.T, s *suite) {
	id := s.id("a")
	before := time.Now().Unix()
	var made, read db.Record
	must(t, s.Create(db.NewRecord(id, db.Metadata{"color": "red"}, []byte("one")), db.Returning(&made)))
	r, err := s.Read(id, db.Returning(&read))
	must(t, err)
	if r.Id() != id || string(r.Bytes()) != "one" || r.Metadata()["color"] != "red" || len(r.Metadata()) != 1 {
		t.Fatalf("read %v %q %v", r.Id(), r.Bytes(), r.Metadata())
	}
	if r.Created() < before-5 || r.Created() > time.Now().Unix()+5 || r.Updated() != r.Created() || r.ETag() == "" {
		t.Errorf("created %d, updated %d, etag %q; it was %d", r.Created(), r.Updated(), r.ETag(), before)
	}
	if made.ETag() != r.ETag() || made.Created() != r.Created() || string(made.Bytes()) != "one" || read != r {
		t.Error("Returning gave another record")
	}
	updateAndDelete(t, s, made)
}

// updateAndDelete goes on with the record that crud made.
func updateAndDelete(t *testing.T, s *suite, made db.Record) {
	t.Helper()
	id := made.Id()
	var updated db.Record
	must(t, s.Update(db.NewRecord(id, db.Metadata{"size": 2}, []byte("two")), db.Returning(&updated)))
	r, err := s.Read(id)
	must(t, err)
	if string(r.Bytes()) != "two" || len(r.Metadata()) != 1 || r.Metadata()["size"] != int64(2) {
		t.Fatalf("updated to %q %v", r.Bytes(), r.Metadata())
	}
	if r.Created() != made.Created() || r.Updated() < r.Created() || r.ETag() == made.ETag() || r.ETag() != updated.ETag() || updated.Created() != made.Created() {
		t.Errorf("created %d then %d, etag %q then %q", made.Created(), r.Created(), made.ETag(), r.ETag())
	}
	must(t, s.Delete(id))
	want(t, errOf(s.Read(id)), db.ErrNotFound)
	var again db.Record
	must(t, s.Create(db.NewRecord(id, nil, nil), db.Returning(&again)))
	if again.ETag() == made.ETag() || again.ETag() == updated.ETag() {
		t.Error("an etag came back")
	}
}

func sentinels(t *testing.T, s *suite) {
	missing, there := db.NewRecord(s.id("missing"), nil, nil), db.NewRecord(s.id("there"), nil, []byte("1"))
	want(t, errOf(s.Read(missing.Id())), db.ErrNotFound)
	want(t, s.Update(missing), db.ErrNotFound)
	want(t, s.Update(missing, db.IfMatch("x")), db.ErrNotFound)
	want(t, s.Delete(missing.Id()), db.ErrNotFound)
	want(t, s.Delete(missing.Id(), db.IfMatch("x")), db.ErrNotFound)
	must(t, s.Create(there))
	want(t, s.Create(db.NewRecord(there.Id(), nil, []byte("2"))), db.ErrExists)
	r, err := s.Read(there.Id())
	must(t, err)
	if string(r.Bytes()) != "1" {
		t.Error("a refused Create changed the record")
	}
	other := s.new(t, db.Table(NewName("empty")))
	start(t, other)
	want(t, errOf(other.Read("x")), db.ErrNotFound) // of a table that is not there
	want(t, other.Delete("x"), db.ErrNotFound)
	want(t, other.Update(db.NewRecord("x", nil, nil)), db.ErrNotFound)
	if found, err := other.Search(nil, 0, 0); err != nil || len(found) != 0 {
		t.Errorf("search in no table: %d, %v", len(found), err)
	}
	nowhere := s.new(t, db.Database("nobody_made_this"))
	start(t, nowhere)
	want(t, errOf(nowhere.Read("x")), db.ErrNotFound)
	want(t, nowhere.Create(db.NewRecord("x", nil, nil)), db.ErrNotFound)
}

func metadata(t *testing.T, s *suite) {
	md := db.Metadata{
		"text": "Zoë 日本 😀", "empty": "", "nul": "a\x00b", "quote": `'"\;--`, "newline": "a\nb",
		"max": int64(math.MaxInt64), "min": int64(math.MinInt64), "zero": int64(0),
		"float": 1.5, "whole": 2.0, "tiny": math.SmallestNonzeroFloat64, "huge": -math.MaxFloat64,
		"true": true, "false": false, "ключ": "значение", " ": "space", "a.b[0]$": "path", strings.Repeat("k", db.MaxKey): "long",
	}
	must(t, s.Create(db.NewRecord(s.id("a"), md, nil)))
	r, err := s.Read(s.id("a"))
	must(t, err)
	if !maps.Equal(r.Metadata(), md) {
		t.Errorf("got %#v\nwant %#v", r.Metadata(), md)
	}
	type kind string
	must(t, s.Update(db.NewRecord(s.id("a"), db.Metadata{"int8": int8(-1), "uint": uint(7), "float32": float32(0.5), "named": kind("x")}, nil)))
	r, err = s.Read(s.id("a"))
	must(t, err)
	if got := r.Metadata(); got["int8"] != int64(-1) || got["uint"] != int64(7) || got["float32"] != 0.5 || got["named"] != "x" || len(got) != 4 {
		t.Errorf("got %#v", got)
	}
	full := make(db.Metadata, db.MaxKeys)
	for i := range db.MaxKeys {
		full[fmt.Sprintf("key%03d", i)] = strings.Repeat("v", 100)
	}
	must(t, s.Create(db.NewRecord(s.id("b"), full, nil)))
	long := db.Metadata{"k": strings.Repeat("v", db.MaxMetadata-1), "l": ""}
	delete(long, "l")
	must(t, s.Create(db.NewRecord(s.id("c"), long, nil)))
	r, err = s.Read(s.id("c"))
	must(t, err)
	if !maps.Equal(r.Metadata(), long) {
		t.Error("a long value came back changed")
	}
	found, err := s.Search(long, 0, 0)
	must(t, err)
	if ids(found) != s.id("c") {
		t.Errorf("a long value found %q", ids(found))
	}
}

func bytes(t *testing.T, s *suite) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for name, data := range map[string][]byte{
		"every value": all, "none": nil, "no text": {0xff, 0xfe, 0x00, 0x80}, "one MB": stdbytes.Repeat(all, db.MaxBytes/256),
	} {
		id := s.id(name)
		must(t, s.Create(db.NewRecord(id, nil, data)))
		r, err := s.Read(id)
		must(t, err)
		if !stdbytes.Equal(r.Bytes(), data) {
			t.Errorf("%s: %d bytes came back as %d others", name, len(data), len(r.Bytes()))
		}
		must(t, s.Update(db.NewRecord(id, nil, data), db.IfMatch(r.ETag())))
	}
}

func tooLarge(t *testing.T, s *suite) {
	for _, size := range []int{db.MaxBytes + 1, 100 << 20} {
		want(t, s.Create(db.NewRecord(s.id("large"), nil, make([]byte, size))), db.ErrInvalid)
	}
	want(t, errOf(s.Read(s.id("large"))), db.ErrNotFound)
	must(t, s.Create(db.NewRecord(s.id("small"), nil, nil)))
}

func badRecords(t *testing.T, s *suite) {
	many := make(db.Metadata)
	for i := range db.MaxKeys + 1 {
		many[fmt.Sprint(i)] = i
	}
	good := s.id("a")
	for _, c := range []struct {
		record db.Record
		names  string
	}{
		{db.NewRecord("", nil, nil), "id"},
		{db.NewRecord(strings.Repeat("x", db.MaxID+1), nil, nil), "id"},
		{db.NewRecord("\xff", nil, nil), ""},
		{db.NewRecord(good, nil, make(chan int)), "data"},
		{db.NewRecord(good, db.Metadata{"": "x"}, nil), "metadata"},
		{db.NewRecord(good, db.Metadata{strings.Repeat("k", db.MaxKey+1): "x"}, nil), "metadata"},
		{db.NewRecord(good, db.Metadata{"k": strings.Repeat("v", db.MaxMetadata)}, nil), "metadata"},
		{db.NewRecord(good, db.Metadata{"k": "\xff"}, nil), "metadata"},
		{db.NewRecord(good, db.Metadata{"k": nil}, nil), "metadata"},
		{db.NewRecord(good, db.Metadata{"k": []string{"x"}}, nil), "metadata"},
		{db.NewRecord(good, db.Metadata{"k": math.NaN()}, nil), "metadata"},
		{db.NewRecord(good, db.Metadata{"k": math.Inf(1)}, nil), "metadata"},
		{db.NewRecord(good, db.Metadata{"k": uint64(math.MaxUint64)}, nil), "metadata"},
		{db.NewRecord(good, many, nil), "metadata"},
	} {
		for what, err := range map[string]error{"create": s.Create(c.record), "update": s.Update(c.record, db.Upsert())} {
			if err == nil || c.names != "" && (!strings.Contains(err.Error(), c.names)) {
				t.Errorf("%s %.20q %.60v: got %v, want an error that names %s", what, c.record.Id(), c.record.Metadata(), err, c.names)
			}
			if c.names != "" {
				want(t, err, db.ErrInvalid)
			}
		}
	}
	want(t, errOf(s.Read(good)), db.ErrNotFound)
	for _, id := range []string{"", strings.Repeat("x", db.MaxID+1)} {
		want(t, errOf(s.Read(id)), db.ErrInvalid)
		want(t, s.Delete(id), db.ErrInvalid)
	}
	must(t, s.Create(db.NewRecord(s.mark+strings.Repeat("x", db.MaxID-len(s.mark)), nil, nil)))
}

func ifMatch(t *testing.T, s *suite) {
	id := s.id("a")
	var first, second db.Record
	must(t, s.Create(db.NewRecord(id, nil, []byte("1")), db.Returning(&first)))
	must(t, s.Update(db.NewRecord(id, nil, []byte("2")), db.IfMatch(first.ETag()), db.Returning(&second)))
	want(t, s.Update(db.NewRecord(id, nil, []byte("3")), db.IfMatch(first.ETag())), db.ErrConflict)
	want(t, s.Delete(id, db.IfMatch(first.ETag())), db.ErrConflict)
	r, err := s.Read(id)
	must(t, err)
	if string(r.Bytes()) != "2" || r.ETag() != second.ETag() {
		t.Errorf("a refused change took place: %q", r.Bytes())
	}
	must(t, s.Delete(id, db.IfMatch(second.ETag())))
	want(t, s.Update(db.NewRecord(id, nil, nil), db.IfMatch(second.ETag())), db.ErrNotFound)
	must(t, s.Create(db.NewRecord(id, nil, nil)))
	want(t, s.Update(db.NewRecord(id, nil, nil), db.IfMatch(second.ETag())), db.ErrConflict)
	want(t, s.Update(db.NewRecord(id, nil, nil), db.IfMatch("")), db.ErrInvalid)
	want(t, s.Update(db.NewRecord(id, nil, nil), db.IfMatch("' OR 1=1 --")), db.ErrConflict)
	want(t, s.Update(db.NewRecord(id, nil, nil), db.IfMatch("*")), db.ErrConflict)
}

func createOnly(t *testing.T, s *suite) {
	id := s.id("a")
	var r db.Record
	must(t, s.Update(db.NewRecord(id, nil, []byte("1")), db.Upsert(), db.Returning(&r)))
	must(t, s.Update(db.NewRecord(id, nil, []byte("2")), db.Upsert()))
	want(t, s.Update(db.NewRecord(id, nil, []byte("3")), db.CreateOnly()), db.ErrExists)
	must(t, s.Update(db.NewRecord(s.id("b"), nil, nil), db.CreateOnly()))
	got, err := s.Read(id)
	must(t, err)
	if string(got.Bytes()) != "2" || got.Created() != r.Created() {
		t.Errorf("%q, created %d then %d", got.Bytes(), r.Created(), got.Created())
	}
	for _, opts := range [][]db.UpdateOption{
		{db.CreateOnly(), db.IfMatch("x")}, {db.CreateOnly(), db.Upsert()}, {db.Upsert(), db.IfMatch("x")},
	} {
		want(t, s.Update(db.NewRecord(id, nil, nil), opts...), db.ErrInvalid)
	}
}

type user struct {
	Name string
	Age  int
}

func typed(t *testing.T, s *suite) {
	id := s.id("zoe")
	must(t, db.Put(s.DB, id, user{"Zoë", 41}, db.WithMetadata(db.Metadata{"age": 41})))
	var r db.Record
	got, err := db.Get[user](s.DB, id, db.Returning(&r))
	if err != nil || got != (user{"Zoë", 41}) || r.Metadata()["age"] != int64(41) {
		t.Fatalf("%v, %v", got, err)
	}
	got.Age++
	must(t, db.Put(s.DB, id, got, db.IfMatch(r.ETag())))
	want(t, db.Put(s.DB, id, got, db.IfMatch(r.ETag())), db.ErrConflict)
	want(t, db.Put(s.DB, id, got, db.CreateOnly()), db.ErrExists)
	must(t, db.Put(s.DB, id, []byte{0xff}))
	if raw, err := db.Get[[]byte](s.DB, id); err != nil || string(raw) != "\xff" {
		t.Errorf("%q, %v", raw, err)
	}
	if _, err := db.Get[user](s.DB, id); err == nil {
		t.Error("a byte was read as a user")
	}
	want(t, errOf(db.Get[user](s.DB, s.id("nobody"))), db.ErrNotFound)
	must(t, db.Put(s.DB, id, json.RawMessage(`{"Name":"x"}`)))
	if got, err := db.Get[*user](s.DB, id); err != nil || got.Name != "x" {
		t.Errorf("%v, %v", got, err)
	}
}
