package configtest

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/memory"
)

// Nasty returns values that a source distorts if it takes them for numbers, bools or
// dates, as unquoted YAML.
func Nasty() []string {
	return []string{
		"1.10", "12345e6", "007", "0755", "0x1F", "1_000", "+1", ".5", "1e3", "2.0", "123456789012345678901234567890",
		"true", "True", "yes", "off", "2026-01-02", "2026-01-02T03:04:05Z", "2026-01-02 03:04:05", "12:30", "a,b", "5s", "0", "5",
	}
}

// answers returns what the getters, and Scan into their types, make of a value.
func answers(v config.Value) (got, scanned map[string]string) {
	var s string
	var b bool
	var i int
	var f float64
	var d time.Duration
	var l []string
	scan := func(target any, show func() any, def any) string {
		if v.Scan(target) != nil {
			return fmt.Sprint(def)
		}
		return fmt.Sprint(show())
	}
	got = map[string]string{
		"String": v.String("def"), "Bool": fmt.Sprint(v.Bool(false)), "Int": fmt.Sprint(v.Int(-7)), "Float64": fmt.Sprint(v.Float64(-7)),
		"Duration": fmt.Sprint(v.Duration(-7)), "StringSlice": fmt.Sprint(v.StringSlice([]string{"def"})),
	}
	scanned = map[string]string{
		"String": scan(&s, func() any { return s }, "def"), "Bool": scan(&b, func() any { return b }, false),
		"Int": scan(&i, func() any { return i }, -7), "Float64": scan(&f, func() any { return f }, -7),
		"Duration": scan(&d, func() any { return d }, time.Duration(-7)), "StringSlice": scan(&l, func() any { return l }, []string{"def"}),
	}
	return got, scanned
}

// testValues asks every getter for every nasty value, as JSON, YAML, TOML, and as text
// of the environment. The text stays, and getters and Scan agree.
func testValues(t *testing.T, n New) {
	for _, value := range Nasty() {
		quoted, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		documents := map[string]string{"text": fmt.Sprintf(`{"v":%s}`, quoted), "yaml": "v: " + value + "\n"}
		if json.Valid([]byte(value)) {
			documents["json"] = fmt.Sprintf(`{"v":%s}`, value)
		}
		if data := "v = " + value + "\n"; toml.Unmarshal([]byte(data), &map[string]any{}) == nil {
			documents["toml"] = data
		}
		for format, data := range documents {
			s := source(format, data)
			if format == "yaml" || format == "toml" {
				s = memory.NewSource(config.SourceFormat(format), memory.Data([]byte(data)))
			}
			checkValue(t, format, value, with(t, n, s).Get("v"))
		}
	}
	t.Run("ToldOnce", func(t *testing.T) { testToldOnce(t, n) })
}

// testNasty asks every getter for every nasty value that the source says, quoted and
// as somebody types it.
func testNasty(t *testing.T, f Fixture) {
	quoted, typed := map[string]any{}, map[string]string{}
	for i, value := range Nasty() {
		quoted[fmt.Sprint("v", i)], typed[fmt.Sprint("v", i)] = value, value
	}
	puts := map[string]func(){"quoted": func() { f.Put(t, quoted) }}
	if f.Text != nil {
		puts["typed"] = func() { f.Text(t, typed) }
	}
	for how, put := range puts {
		put()
		c := configOf(t, f.Source)
		for i, value := range Nasty() {
			checkValue(t, how, value, c.Get(fmt.Sprint("v", i)))
		}
	}
}

func checkValue(t *testing.T, format, value string, v config.Value) {
	t.Helper()
	got, scanned := answers(v)
	for getter, a := range got {
		if b := scanned[getter]; a != b {
			t.Errorf("%s %s: %s says %s, Scan %s", format, value, getter, a, b)
		}
	}
	if text := got["String"]; text != value && (value != "True" || text != "true") {
		t.Errorf("%s %s: the text became %q", format, value, text)
	}
	for getter, want := range wanted()[value] {
		if got[getter] != want {
			t.Errorf("%s %s: %s is %s, want %s", format, value, getter, got[getter], want)
		}
	}
}

// wanted are answers by value and getter.
func wanted() map[string]map[string]string {
	return map[string]map[string]string{
		"5": {"Int": "5", "Float64": "5", "Bool": "false", "Duration": "-7ns"}, "yes": {"Bool": "true"}, "off": {"Bool": "false"},
		"5s": {"Duration": "5s"}, "1.10": {"Float64": "1.1", "Int": "-7"}, "12345e6": {"Int": "12345000000"}, "1e3": {"Int": "1000"},
		"2.0": {"Int": "2"}, "a,b": {"StringSlice": "[a b]"},
	}
}

// testToldOnce: a value that does not convert is the default, one log line, and in
// Explain.
func testToldOnce(t *testing.T, n New) {
	var lines atomic.Int32
	c := started(t, n, config.Logger(slog.New(slog.NewTextHandler(writer(func() { lines.Add(1) }), nil))), config.WithSource(source("a", `{"t":30,"secret":"s3cret"}`)))
	before := lines.Load()
	for range 3 {
		if got := c.Get("t").Duration(time.Minute); got != time.Minute {
			t.Errorf("a number is a duration of %v", got)
		}
		c.Get("secret").Int(0)
		c.Get("none").Int(0)
	}
	if got := lines.Load() - before; got != 2 {
		t.Errorf("%d lines about two values that do not convert", got)
	}
	if got := c.Explain("t").Doubts; len(got) != 1 || got[0] != "want a duration such as 1m30s, got a number" {
		t.Errorf("Explain: %q", got)
	}
}
