// Package configtest checks whether a config or a source keeps the contract of
// package config. Every source of this project runs it.
package configtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/memory"
	"github.com/micro/go-platform/internal/lifecycle/lifecycletest"
)

// New returns a config that is not started, with all of the options. The suite
// stops it.
type New func(t testing.TB, opts ...config.Option) config.Config

// Run tests the Configs that n makes.
func Run(t *testing.T, n func(t testing.TB, opts ...config.Option) config.Config) {
	t.Run("Lifecycle", func(t *testing.T) { lifecycletest.Run(t, lives(n)) })
	for name, test := range map[string]func(*testing.T, New){
		"BeforeStart":      testBeforeStart,
		"MergeOrder":       testMergeOrder,
		"Types":            testTypes,
		"Scan":             testScan,
		"ScanNothing":      testScanNothing,
		"SetAndDel":        testSetAndDel,
		"BadSource":        testBadSource,
		"Emptied":          testEmptied,
		"Hostile":          testHostile,
		"Gone":             testGone,
		"Values":           testValues,
		"Skipped":          testSkipped,
		"RequiredSource":   testRequired,
		"Explain":          testExplain,
		"Watch":            testWatch,
		"Consistency":      testConsistency,
		"ReadsAndWrites":   testReadsAndWrites,
		"SnapshotIsFrozen": testSnapshot,
		"AfterStop":        testAfterStop,
	} {
		t.Run(name, func(t *testing.T) { test(t, n) })
	}
}

func quiet() config.Option { return config.Logger(slog.New(slog.DiscardHandler)) }

func source(name, data string) *memory.Source {
	return memory.NewSource(config.SourceName(name), memory.Data([]byte(data)))
}

// with returns a config of required sources that runs.
func with(t *testing.T, n New, sources ...config.Source) config.Config {
	t.Helper()
	var opts []config.Option
	for _, s := range sources {
		opts = append(opts, config.WithSource(s))
	}
	return started(t, n, opts...)
}

func started(t *testing.T, n New, opts ...config.Option) config.Config {
	t.Helper()
	c := made(t, n, opts...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

func made(t *testing.T, n New, opts ...config.Option) config.Config {
	t.Helper()
	c := n(t, append([]config.Option{quiet()}, opts...)...)
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// eventually is patient: go-micro's clients may take ten seconds to find a
// service that moved.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

func testMergeOrder(t *testing.T, n New) {
	for name, c := range map[string]struct {
		sources []string
		want    string
	}{
		"later wins":        {[]string{`{"a":1}`, `{"a":2}`, `{"a":3}`}, `{"a":3}`},
		"deep":              {[]string{`{"a":{"b":1,"c":{"d":1}}}`, `{"a":{"c":{"e":2}}}`}, `{"a":{"b":1,"c":{"d":1,"e":2}}}`},
		"lists replace":     {[]string{`{"a":[1,2,3]}`, `{"a":[4]}`}, `{"a":[4]}`},
		"null removes":      {[]string{`{"a":1,"b":{"c":1,"d":2}}`, `{"a":null,"b":{"c":null}}`}, `{"b":{"d":2}}`},
		"scalar to object":  {[]string{`{"a":1}`, `{"a":{"b":2}}`}, `{"a":{"b":2}}`},
		"object to scalar":  {[]string{`{"a":{"b":2}}`, `{"a":1}`}, `{"a":1}`},
		"and back":          {[]string{`{"a":{"b":2}}`, `{"a":1}`, `{"a":{"c":3}}`}, `{"a":{"c":3}}`},
		"null then object":  {[]string{`{"a":{"b":2}}`, `{"a":null}`, `{"a":{"c":3}}`}, `{"a":{"c":3}}`},
		"empty keeps":       {[]string{`{"a":1}`, `{}`}, `{"a":1}`},
		"empty object":      {[]string{`{"a":{"b":1}}`, `{"a":{}}`}, `{"a":{"b":1}}`},
		"large numbers":     {[]string{`{"a":9223372036854775807}`, `{"b":18446744073709551615}`}, `{"a":9223372036854775807,"b":18446744073709551615}`},
		"letters of keys":   {[]string{`{"A":1}`, `{"a":2}`}, `{"A":1,"a":2}`},
		"unicode and html":  {[]string{`{"é":"<&>"}`}, `{"é":"<&>"}`},
		"only nulls remain": {[]string{`{"a":{"b":null}}`}, `{"a":{}}`},
	} {
		t.Run(name, func(t *testing.T) {
			var sources []config.Source
			for i, data := range c.sources {
				sources = append(sources, source(fmt.Sprint(i), data))
			}
			if got := string(with(t, n, sources...).Bytes()); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	for format, data := range map[string]string{"yaml": "a:\n  b: 1\n  c: [x, y]\n", "toml": "[a]\nb = 1\nc = ['x', 'y']\n"} {
		s := memory.NewSource(config.SourceFormat(format), memory.Data([]byte(data)))
		c := with(t, n, source("json", `{"a":{"b":0,"d":true}}`), s)
		if got := string(c.Bytes()); got != `{"a":{"b":1,"c":["x","y"],"d":true}}` {
			t.Errorf("%s over json: %s", format, got)
		}
	}
}

func testTypes(t *testing.T, n New) {
	c := with(t, n, source("a", `{"s":"text","i":42,"f":1.5,"whole":2.0,"b":true,"d":"1m30s","ns":1500,"l":["a",1,true],"csv":"a, b,c",
		"m":{"k":"v","n":3,"o":{"p":1}},"si":"42","sf":"1.5","sb":"true","empty":"","big":18446744073709551615,"ll":[[1]]}`))
	for name, check := range map[string][2]any{
		"string":            {c.Get("s").String("def"), "text"},
		"string of int":     {c.Get("i").String("def"), "42"},
		"string of float":   {c.Get("f").String("def"), "1.5"},
		"string of bool":    {c.Get("b").String("def"), "true"},
		"string of object":  {c.Get("m").String("def"), "def"},
		"empty string":      {c.Get("empty").String("def"), ""},
		"missing string":    {c.Get("s", "x", "y").String("def"), "def"},
		"int":               {c.Get("i").Int(7), 42},
		"int of text":       {c.Get("si").Int(7), 42},
		"int of whole":      {c.Get("whole").Int(7), 2},
		"int of fraction":   {c.Get("f").Int(7), 7},
		"int of big":        {c.Get("big").Int(7), 7},
		"int of word":       {c.Get("s").Int(7), 7},
		"float":             {c.Get("f").Float64(7), 1.5},
		"float of int":      {c.Get("i").Float64(7), 42.0},
		"float of text":     {c.Get("sf").Float64(7), 1.5},
		"float of list":     {c.Get("l").Float64(7), 7.0},
		"bool":              {c.Get("b").Bool(false), true},
		"bool of text":      {c.Get("sb").Bool(false), true},
		"bool of int":       {c.Get("i").Bool(false), false},
		"duration":          {c.Get("d").Duration(7), 90 * time.Second},
		"duration of int":   {c.Get("ns").Duration(7), time.Duration(7)},
		"duration of word":  {c.Get("s").Duration(7), time.Duration(7)},
		"slice":             {fmt.Sprintf("%q", c.Get("l").StringSlice(nil)), `["a" "1" "true"]`},
		"slice of text":     {fmt.Sprintf("%q", c.Get("csv").StringSlice(nil)), `["a" "b" "c"]`},
		"slice of lists":    {fmt.Sprintf("%q", c.Get("ll").StringSlice([]string{"def"})), `["def"]`},
		"map":               {fmt.Sprint(c.Get("m").StringMap(nil)), "map[k:v n:3 o:{\"p\":1}]"},
		"missing map":       {fmt.Sprint(c.Get("x").StringMap(map[string]string{"a": "b"})), "map[a:b]"},
		"bytes of text":     {string(c.Get("s").Bytes()), "text"},
		"bytes of object":   {string(c.Get("m").Bytes()), `{"k":"v","n":3,"o":{"p":1}}`},
		"bytes of nothing":  {c.Get("x").Bytes() == nil, true},
		"no way below text": {c.Get("s", "").Int(7), 7},
	} {
		if check[0] != check[1] {
			t.Errorf("%s: got %v, want %v", name, check[0], check[1])
		}
	}
	list, object := c.Get("l").StringSlice(nil), c.Get("m").StringMap(nil)
	list[0], object["k"] = "changed", "changed"
	if c.Get("l").StringSlice(nil)[0] != "a" || c.Get("m").StringMap(nil)["k"] != "v" {
		t.Error("what the caller does to a slice or map reaches the config")
	}
}

type settings struct {
	Name    string        `json:"name"`
	Port    uint16        `json:"port"`
	Timeout time.Duration `json:"timeout"`
	Debug   bool          `json:"debug"`
	Tags    []string      `json:"tags"`
	At      time.Time     `json:"at"`
	Nested  *nested       `json:"nested"`
	Limits  map[string]int
	Kept    string
}

type nested struct {
	Ratio float64
	Small int8
}

func testScan(t *testing.T, n New) {
	c := with(t, n, source("a", `{"app":{"name":"shop","port":"8080","timeout":"2s","debug":"true","tags":["a","b"],
		"at":"2026-01-02T03:04:05Z","nested":{"ratio":0.5,"small":-3},"limits":{"x":1,"y":2},"unknown":1},
		"bad":{"app":{"port":70000,"timeout":"soon","debug":"perhaps","nested":{"small":1000,"ratio":"half"},"tags":{"a":1},"limits":{"x":1.5}}}}`))
	got := settings{Kept: "kept", Name: "default"}
	if err := c.Get("app").Scan(&got); err != nil {
		t.Fatal(err)
	}
	want := settings{
		Name: "shop", Port: 8080, Timeout: 2 * time.Second, Debug: true, Tags: []string{"a", "b"},
		At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Nested: &nested{0.5, -3}, Limits: map[string]int{"x": 1, "y": 2}, Kept: "kept",
	}
	a, _ := json.Marshal(got)  // what JSON was made of
	b, _ := json.Marshal(want) // what JSON was made of
	if !bytes.Equal(a, b) {
		t.Errorf("got %s, want %s", a, b)
	}
	untouched := settings{Name: "before", Port: 1}
	err := c.Get("bad", "app").Scan(&untouched)
	if !errors.Is(err, config.ErrInvalid) {
		t.Fatalf("bad values: %v", err)
	}
	for _, field := range []string{"bad.app.port", "bad.app.timeout", "bad.app.debug", "bad.app.nested.small", "bad.app.nested.ratio", "bad.app.limits[x]"} {
		if !strings.Contains(strings.ToLower(err.Error()), field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
	if strings.Contains(err.Error(), "perhaps") || strings.Contains(err.Error(), "soon") {
		t.Errorf("the error shows values, which may be secret: %v", err)
	}
	if untouched.Name != "before" || untouched.Port != 1 || untouched.Tags != nil {
		t.Errorf("a failed Scan changed %+v", untouched)
	}
	var port int
	if err := c.Get("app", "port").Scan(&port); err != nil || port != 8080 {
		t.Errorf("scalar: %d, %v", port, err)
	}
	var all map[string]any
	if err := c.Get().Scan(&all); err != nil || len(all) != 2 {
		t.Errorf("everything: %v, %v", all, err)
	}
	for _, target := range []any{nil, settings{}, (*settings)(nil)} {
		if err := c.Get("app").Scan(target); !errors.Is(err, config.ErrInvalid) {
			t.Errorf("into %T: %v", target, err)
		}
	}
}

// testScanNothing scans values that are not there, or null.
func testScanNothing(t *testing.T, n New) {
	c := with(t, n, source("a", `{"nulls":[null],"gone":null}`))
	port := 8080
	for _, key := range []string{"none", "gone"} {
		if err := c.Get(key).Scan(&port); err != nil || port != 8080 {
			t.Errorf("%s: %d, %v", key, port, err)
		}
	}
	var list []any
	if err := c.Get("nulls").Scan(&list); err != nil || len(list) != 1 {
		t.Errorf("a list with a null: %v, %v", list, err)
	}
}

func testSetAndDel(t *testing.T, n New) {
	s := source("a", `{"a":{"b":1,"c":2},"d":3}`)
	c := with(t, n, s)
	step := func(what, want string) {
		t.Helper()
		if got := string(c.Bytes()); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	c.Set(10, "a", "b")
	step("Set", `{"a":{"b":10,"c":2},"d":3}`)
	c.Del("a", "c")
	step("Del", `{"a":{"b":10},"d":3}`)
	s.Update([]byte(`{"a":{"b":2,"c":3,"e":4},"d":4}`))
	eventually(t, "the update arrives", func() bool { return c.Get("d").Int(0) == 4 })
	step("a source's update", `{"a":{"b":10,"e":4},"d":4}`)
	c.Set(map[string]any{"x": nested{Ratio: 2}}, "a")
	step("Set replaces", `{"a":{"x":{"Ratio":2,"Small":0}},"d":4}`)
	c.Set("v", "new", "deep", "path")
	c.Del("a")
	step("Del of an object", `{"d":4,"new":{"deep":{"path":"v"}}}`)
	c.Set(func() {}, "d")
	c.Set("no object")
	c.Set(1, make([]string, 100)...)
	step("what cannot be set", `{"d":4,"new":{"deep":{"path":"v"}}}`)
	c.Set(nil, "d")
	c.Del("not", "there")
	step("null", `{"new":{"deep":{"path":"v"}}}`)
	c.Set(map[string]int{"only": 1})
	step("Set of everything", `{"only":1}`)
	s.Update([]byte(`{"d":5}`))
	c.Del()
	step("Del of everything", `{}`)
}

func testBadSource(t *testing.T, n New) {
	good, bad := source("good", `{"a":1}`), source("bad", `{"b":1}`)
	c := started(t, n, config.PollInterval(config.MinPollInterval), config.WithSource(good), config.WithOptionalSource(bad))
	status := func() config.SourceStatus { return c.Status()[1] }
	for what, spoil := range map[string]func(){
		"garbage":  func() { bad.Update([]byte(`{"b":`)) },
		"no root":  func() { bad.Update([]byte(`[1]`)) },
		"deep":     func() { bad.Update([]byte(strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100))) },
		"too long": func() { bad.Update([]byte(`{"b":"` + strings.Repeat("x", config.MaxSize) + `"}`)) },
		"failing":  func() { bad.Fail(errors.New("away")) },
	} {
		spoil()
		eventually(t, what+": it is told", func() bool { return status().Err != nil })
		good.Update([]byte(`{"a":2}`))
		eventually(t, what+": others go on", func() bool { return c.Get("a").Int(0) == 2 })
		if got := c.Get("b").Int(0); got != 1 {
			t.Errorf("%s: the last good value is gone: %d", what, got)
		}
		if s := status(); !s.Loaded || s.Required || s.Source != "memory:bad" {
			t.Errorf("%s: %+v", what, s)
		}
		good.Update([]byte(`{"a":1}`))
		bad.Update([]byte(`{"b":1}`))
		eventually(t, what+": it heals", func() bool { return status().Err == nil && c.Get("a").Int(0) == 1 })
	}
}

func testRequired(t *testing.T, n New) {
	s := source("needed", `{"a":`)
	c := made(t, n, config.PollInterval(config.MinPollInterval), config.WithSource(s), config.WithOptionalSource(source("other", `{"b":1}`)))
	err := c.Start()
	if !errors.Is(err, config.ErrRequired) || !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "memory:needed") {
		t.Fatalf("Start without a required source: %v", err)
	}
	if got := c.Get("b").Int(0); got != 1 {
		t.Errorf("the others do not work: %d", got)
	}
	s.Update([]byte(`{"a":1}`))
	eventually(t, "it heals", func() bool { return c.Get("a").Int(0) == 1 })
	if err := c.Start(); err != nil {
		t.Errorf("Start after it healed: %v", err)
	}
	o := source("optional", `no`)
	if err := made(t, n, config.WithOptionalSource(o)).Start(); err != nil {
		t.Errorf("an optional source: %v", err)
	}
}

func testExplain(t *testing.T, n New) {
	c := with(t, n, source("0", `{"a":{"b":1,"c":1},"d":1,"e":{"f":1}}`), source("1", `{"a":{"b":2},"d":null,"e":2}`), source("2", `{"a":{"g":3}}`))
	c.Set(9, "a", "z")
	describe := func(path ...string) string {
		e := c.Explain(path...)
		var b strings.Builder
		_, _ = fmt.Fprintf(&b, "%s from %s:", e.Value.Bytes(), e.Source) // a Builder does not fail
		for _, l := range e.Layers {
			_, _ = fmt.Fprintf(&b, " %s=%s,%v", l.Source, l.Value.Bytes(), l.Effective) // a Builder does not fail
		}
		return b.String()
	}
	for _, check := range [][2]string{
		{describe("a", "b"), "2 from memory:1: memory:0=1,false memory:1=2,true"},
		{describe("a", "c"), "1 from memory:0: memory:0=1,true"},
		{describe("a", "z"), "9 from " + config.OverlaySource + ": set=9,true"},
		{describe("d"), " from memory:1: memory:0=1,false memory:1=null,true"},
		{describe("e", "f"), " from memory:1: memory:0=1,false memory:1=null,true"},
		{describe("none"), " from :"},
		{describe("a"), `{"b":2,"c":1,"g":3,"z":9} from set: memory:0={"b":1,"c":1},true memory:1={"b":2},true memory:2={"g":3},true set={"a":{"z":9}},true`},
	} {
		if check[0] != check[1] {
			t.Errorf("got  %s\nwant %s", check[0], check[1])
		}
	}
}

func testWatch(t *testing.T, n New) {
	s := source("a", `{"a":{"b":1},"other":1}`)
	c := with(t, n, s)
	w, err := c.Watch("a")
	if err != nil {
		t.Fatal(err)
	}
	s.Update([]byte(`{"a":{"b":1},"other":2}`))
	eventually(t, "another value changes", func() bool { return c.Get("other").Int(0) == 2 })
	s.Update([]byte(`{"a":{"b":2},"other":2}`))
	if v, err := w.Next(); err != nil || string(v.Bytes()) != `{"b":2}` {
		t.Fatalf("Next: %v, %v", v, err)
	}
	c.Set(3, "a", "b")
	if v, err := w.Next(); err != nil || string(v.Bytes()) != `{"b":3}` {
		t.Fatalf("Next after Set: %v, %v", v, err)
	}
	c.Del("a")
	if v, err := w.Next(); err != nil || v.Bytes() != nil {
		t.Fatalf("Next after Del: %v, %v", v, err)
	}
	for i := range 100 {
		c.Set(i, "a")
	}
	for v, last := config.Value(nil), -1; last != 99; last = v.Int(-1) {
		if v, err = w.Next(); err != nil || v.Int(-1) <= last {
			t.Fatalf("Next of many: %v after %d, %v", v, last, err)
		}
	}
	ended := make(chan error)
	go func() { _, err := w.Next(); ended <- err }()
	for range 2 {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; !errors.Is(err, config.ErrStopped) {
		t.Errorf("Next after Stop: %v", err)
	}
	all, err := c.Watch()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, err := all.Next(); ended <- err }()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, config.ErrStopped) {
		t.Errorf("Next after the config stopped: %v", err)
	}
	if _, err := c.Watch("a"); !errors.Is(err, config.ErrStopped) {
		t.Errorf("Watch after the config stopped: %v", err)
	}
}
