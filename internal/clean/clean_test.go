package clean_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestName(t *testing.T) {
	for name, want := range map[string]bool{
		"go.micro.srv.x": true, "größe": true, "a b": true, "": false, "a\nb": false, "a\x00": false,
		"\xff": false, "a\u2028b": false, "a\u202eb": false, strings.Repeat("x", 65): false,
	} {
		if got := clean.Name(name, 64); got != want {
			t.Errorf("Name(%q) = %v", name, got)
		}
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "a\nb": "a b", "\x1b[31mred": " [31mred", "a\xffb": "a b", "a\u2028b": "a b",
		"12345678\u00e4": "12345678", "1234567890": "123456789",
	} {
		if got := clean.Text(in, 9); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMapKeepsWithinItsBounds(t *testing.T) {
	many := map[string]string{}
	for i := range 200 {
		many[fmt.Sprintf("k%03d", i)] = "v"
	}
	if got := clean.Map(many); len(got) != clean.MaxPairs || got["k000"] != "v" || got["k199"] != "" {
		t.Errorf("kept %d pairs", len(got))
	}
	if got := clean.Map(map[string]string{"a": strings.Repeat("x", 5000), "b": strings.Repeat("x", 5000)}); len(got) != 1 {
		t.Errorf("kept %d large pairs", len(got))
	}
	if clean.Map(map[string]string{}) != nil {
		t.Error("an empty map is not nil")
	}
}

type broken struct{ text string }

func (b *broken) Error() string { return b.text }

func TestErrorSurvivesWhatItIsGiven(t *testing.T) {
	if got := clean.Error(nil, 9); got != "" {
		t.Errorf("no error says %q", got)
	}
	if got := clean.Error(&broken{"a\xff\nb"}, 9); got != "a  b" {
		t.Errorf("an error says %q", got)
	}
	if got := clean.Error((*broken)(nil), 100); !strings.Contains(got, "*clean_test.broken") {
		t.Errorf("a nil pointer says %q", got)
	}
}

func TestUTF8(t *testing.T) {
	if got := clean.UTF8("ä\xffb\n"); got != "ä\uFFFDb\n" {
		t.Errorf("got %q", got)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\nb\xff\u2028", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 100)
		got := clean.Text(s, limit)
		if len(got) > limit || !utf8.ValidString(got) {
			t.Fatalf("Text(%q, %d) = %q", s, limit, got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q holds %q", got, r)
			}
		}
		if got != "" && !clean.Name(got, limit) {
			t.Fatalf("%q is no name", got)
		}
	})
}
