package log_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/logtest"
)

// roundTrip checks what AppendJSON promises of any event.
func roundTrip(t *testing.T, e *log.Event) {
	t.Helper()
	line := e.AppendJSON(nil)
	for _, r := range string(line) {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			t.Fatalf("%U is in the line %q", r, line)
		}
	}
	if !utf8.Valid(line) {
		t.Fatalf("not UTF-8: %q", line)
	}
	var got log.Event
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	if got.Level != e.Level || got.Timestamp != e.Timestamp || got.Message != runes(e.Message) {
		t.Errorf("got %+v of %+v", got, e)
	}
	want := log.Fields{}
	for k, v := range e.Fields {
		want[runes(k)] = runes(v)
	}
	if len(want) == len(e.Fields) && !maps.Equal(got.Fields, want) {
		t.Errorf("got fields %q, want %q", got.Fields, want)
	}
}

// runes replaces every byte that is not UTF-8, as encoding/json does.
func runes(s string) string { return string([]rune(s)) }

func TestEventJSON(t *testing.T) {
	e := &log.Event{Level: log.WarnLevel, Timestamp: 7, Message: "m", Fields: log.Fields{"b": "2", "a": "1"}}
	want := `{"level":"warn","fields":{"a":"1","b":"2"},"timestamp":7,"message":"m"}`
	if got := string(e.AppendJSON(nil)); got != want {
		t.Errorf("got %s", got)
	}
	if got, err := json.Marshal(map[string]any{"e": e}); err != nil || string(got) != `{"e":`+want+`}` {
		t.Errorf("got %s, %v", got, err)
	}
	e.Fields = nil
	if got := string(e.AppendJSON(nil)); got != `{"level":"warn","timestamp":7,"message":"m"}` {
		t.Errorf("got %s", got)
	}
	for _, text := range logtest.Nasty {
		roundTrip(t, &log.Event{Message: text, Fields: log.Fields{text: text, "level": text}, Level: log.FatalLevel})
	}
}

// lines is an output of the lines that events encode themselves as.
type lines struct {
	bytes.Buffer
	change func(*log.Event) *log.Event
}

func (l *lines) Send(e *log.Event) error {
	if l.change != nil {
		e = l.change(e)
	}
	l.Write(append(e.AppendJSON(nil), '\n'))
	return nil
}
func (*lines) Flush() error   { return nil }
func (*lines) Close() error   { return nil }
func (*lines) String() string { return "lines" }

func TestHeldEncodingIsThatOfTheFields(t *testing.T) {
	out := &lines{}
	l := log.NewLog(log.WithOutput(out), log.WithFields(log.Fields{"b": "1"}))
	held := l.WithFields(log.Fields{"a": "x\n"})
	held.Info("m")
	held.LogFields(log.InfoLevel, "m", log.Field{Key: "c", Value: "3"}, log.Field{Key: "d", Value: "4"})
	held.LogFields(log.InfoLevel, "m", log.Field{Key: "a", Value: "3"}, log.Field{Key: "d", Value: "4"}, log.Field{Key: "d", Value: "5"})
	l.Info("m")
	log.NewLog(log.WithOutput(out)).LogFields(log.InfoLevel, "m", log.Field{Key: "c", Value: "3"})
	var got []string
	for line := range strings.Lines(out.Buffer.String()) {
		_, rest, _ := strings.Cut(line, `"fields":`)
		fields, _, _ := strings.Cut(rest, `,"timestamp"`)
		got = append(got, fields)
	}
	want := `{"a":"x\n","b":"1"} {"a":"x\n","b":"1","c":"3","d":"4"} {"a":"3","b":"1","d":"5"} {"b":"1"} {"c":"3"}`
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

func TestExchangedFieldsAreWritten(t *testing.T) {
	out := &lines{change: func(e *log.Event) *log.Event {
		c := *e
		c.Fields = log.Fields{"new": "1"}
		return &c
	}}
	log.NewLog(log.WithOutput(out)).WithFields(log.Fields{"old": "1"}).Info("m")
	if !strings.Contains(out.Buffer.String(), `"fields":{"new":"1"}`) {
		t.Errorf("got %s", out.Bytes())
	}
}

func FuzzEventJSON(f *testing.F) {
	for _, text := range logtest.Nasty {
		f.Add(text, text, "v", int64(1))
	}
	f.Fuzz(func(t *testing.T, message, key, value string, at int64) {
		e := &log.Event{Level: log.InfoLevel, Timestamp: at, Message: message, Fields: log.Fields{key: value, "k": message}}
		roundTrip(t, e)
		out := &lines{}
		log.NewLog(log.WithOutput(out)).WithFields(log.Fields{"k": message}).
			LogFields(log.InfoLevel, message, log.Field{Key: key, Value: value})
		if n := strings.Count(out.Buffer.String(), "\n"); n != 1 || !json.Valid(out.Bytes()) {
			t.Errorf("%d lines: %q", n, out.Bytes())
		}
	})
}

func FuzzUnmarshalEvent(f *testing.F) {
	f.Add([]byte(`{"level":"info","fields":{"a":"b"},"timestamp":1,"message":"m"}`))
	f.Add([]byte(`{"level":3}`))
	f.Add([]byte(`{"level":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var e log.Event
		if json.Unmarshal(data, &e) == nil && (e.Level < log.DebugLevel || e.Level > log.FatalLevel) {
			t.Errorf("level %d of %q", e.Level, data)
		}
	})
}

// Every byte is looked at alone and among seven plain ones.
func TestEachByteIsEscapedOrNot(t *testing.T) {
	for c := range 256 {
		for _, text := range []string{string([]byte{byte(c)}), "1234567" + string([]byte{byte(c)}), string([]byte{byte(c)}) + "1234567~~"} {
			roundTrip(t, &log.Event{Message: text})
		}
	}
}
