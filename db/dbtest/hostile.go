package dbtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/micro/go-platform/db"
)

// hostileTexts mean something to one database or another, or to what lies
// between.
func hostileTexts() []string {
	return []string{
		"'", `"`, "`", "\\", "%", "_", "*", "?", "%%", "a%b", "' OR '1'='1", `" OR ""="`, "'; DROP TABLE r_micro; --", "1); DELETE FROM r_micro; --",
		"/* */", "--", "#", ";", "$1", "?1", ":id", "{}", `{"match_all":{}}`, "[0]", "..", "../..", "/", "/_search", "_search", "_all", "a/b", "%2e%2e%2f", "%00",
		"a\x00b", "\x00", "\n", "\r\nX: y", "\t", " ", "  lead", "trail  ", "é", "e\u0301", "日本語", "😀", "\u202e", "\ufeff", "\uffff", "\U0010ffff", "A", "a", "ä", "ß", "SS",
		"true", "null", "NaN", "0", "-1", "1e400", "9223372036854775808", "CamelCase", strings.Repeat("é", 60), "https://x/?q=1&r=2#f", "a+b c",
	}
}

func hostileIDs(t *testing.T, s *suite) {
	texts := hostileTexts()
	for i, text := range texts {
		must(t, s.Create(db.NewRecord(s.mark+text, db.Metadata{"mark": s.mark, "value": text, "k" + text: i}, []byte(text))))
	}
	for i, text := range texts {
		r, err := s.Read(s.mark + text)
		if err != nil {
			t.Errorf("read %q: %v", text, err)
			continue
		}
		if r.Id() != s.mark+text || string(r.Bytes()) != text || r.Metadata()["k"+text] != int64(i) {
			t.Errorf("%q came back as %q %q %v", text, r.Id(), r.Bytes(), r.Metadata())
		}
		for what, opts := range map[string][]db.SearchOption{
			"value": {db.Where("value", db.Equal, text)},
			"key":   {db.Where("k"+text, db.Equal, i)},
			"after": {db.Where("value", db.AtLeast, text), db.Where("value", db.AtMost, text)},
		} {
			found, err := s.Search(db.Metadata{"mark": s.mark}, 0, 0, opts...)
			if err != nil || ids(found) != s.mark+text {
				t.Errorf("search %s %q found %q, %v", what, text, ids(found), err)
			}
		}
	}
	n := 0
	for _, err := range db.Each(s.DB, db.Metadata{"mark": s.mark}) {
		must(t, err)
		n++
	}
	if n != len(texts) {
		t.Errorf("%d of %d are there", n, len(texts))
	}
	if err := s.Delete(s.mark + "%"); err != nil {
		t.Error(err)
	}
	found, err := s.Search(db.Metadata{"mark": s.mark}, 0, 0)
	if err != nil || len(found) != n-1 {
		t.Errorf("deleting one left %d of %d, %v", len(found), n, err)
	}
}

func hostileNames(t *testing.T, s *suite) {
	names := append(hostileTexts(), "", "1a", "_a", "a-b", "a.b", "A", "Table", strings.Repeat("x", db.MaxName+1), "a b", "r_x; DROP", "é", "a\x00")
	for _, name := range names {
		if db.ValidName(name) {
			continue // "true" and the like
		}
		for what, opt := range map[string]db.CallOption{"table": db.InTable(name), "database": db.InDatabase(name)} {
			want(t, s.Create(db.NewRecord(s.id("a"), nil, nil), opt), db.ErrInvalid)
			want(t, errOf(s.Read(s.id("a"), opt)), db.ErrInvalid)
			want(t, s.Update(db.NewRecord(s.id("a"), nil, nil), opt), db.ErrInvalid)
			want(t, s.Delete(s.id("a"), opt), db.ErrInvalid)
			want(t, errOf(s.Search(nil, 0, 0, opt)), db.ErrInvalid)
			if t.Failed() {
				t.Fatalf("%s %q", what, name)
			}
		}
	}
	// Names that are words of some language, or of its system tables.
	for _, name := range []string{"select", "order", "true", "sqlite_master", "outbox", "goose_db_version", strings.Repeat("x", db.MaxName)} {
		id := s.id("word")
		must(t, s.Create(db.NewRecord(id, db.Metadata{"a": 1}, []byte(name)), db.InTable(name)))
		found, err := s.Search(db.Metadata{"a": 1}, 0, 0, db.InTable(name), db.Where("a", db.Greater, 0), db.OrderBy("a"))
		if err != nil || !strings.Contains(ids(found), id) {
			t.Errorf("table %s: found %q, %v", name, ids(found), err)
		}
		must(t, s.Delete(id, db.InTable(name)))
	}
}

// isolation: an id means nothing in another table.
func isolation(t *testing.T, s *suite) {
	other := s.new(t, db.Table(NewName("other")))
	start(t, other)
	id := s.id("a")
	must(t, s.Create(db.NewRecord(id, db.Metadata{"mark": s.mark}, []byte("mine"))))
	want(t, errOf(other.Read(id)), db.ErrNotFound)
	must(t, other.Create(db.NewRecord(id, db.Metadata{"mark": s.mark}, []byte("theirs"))))
	want(t, other.Update(db.NewRecord(s.id("b"), nil, nil)), db.ErrNotFound)
	for d, text := range map[db.DB]string{s.DB: "mine", other: "theirs"} {
		found, err := d.Search(db.Metadata{"mark": s.mark}, 0, 0)
		if err != nil || len(found) != 1 || string(found[0].Bytes()) != text {
			t.Errorf("found %v, %v; want %s", found, err, text)
		}
	}
	must(t, other.Delete(id))
	if r, err := s.Read(id); err != nil || string(r.Bytes()) != "mine" {
		t.Error(fmt.Errorf("after the other was deleted: %w", err))
	}
}
