package event_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/event"
	"github.com/micro/go-platform/event/internal/wire"
)

func TestRecordsSurviveCloudEvents(t *testing.T) {
	for _, r := range []*event.Record{
		{Id: "1", Type: "t"},
		{Id: "1", Type: "t", Origin: "shop", Timestamp: 5, TimestampNano: 5e9 + 6, RootId: "r", Key: "k", Sequence: 7, Data: "plain"},
		{Id: "1", Type: "t", Origin: "not a URI %", Data: `{"a":1.0,"b":"<&>"}`},
		{Id: "1", Type: "t", Origin: "urn:micro:x", Data: `{ "spaced": 1 }`},
		{Id: "1", Type: "t", Origin: "/path?q#f", Data: "\x00\xff"},
		{Id: "1", Type: "t", Data: "null"},
		{Id: "1", Type: "t", Data: "null", Metadata: map[string]string{"content-type": "application/json"}},
		{Id: "1", Type: "t", Data: "text", Metadata: map[string]string{"content-type": "text/plain; charset=utf-8"}},
		{Id: "1", Type: "t", Data: `"text"`, Metadata: map[string]string{"content-type": "application/json", "Content-Type": "x"}},
		{Id: "1", Type: "t", Data: "{}", Metadata: map[string]string{"content-type": "not a / type"}},
		{Id: "1", Type: "t", Metadata: map[string]string{"ce-foo": "bar", "ce-int-n": "5", "ce-bool-b": "true", "ce-int-x": "05", "ce-bool-y": "yes",
			"ce-id": "forged", "ce-": "", "ce-Upper": "x", "traceparent": "00-..", "content-type": "", "ce-both": "1", "ce-int-both": "2", "micrometadata": "{}"}},
	} {
		data, err := event.MarshalCloudEvent(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := event.UnmarshalCloudEvent(data)
		if err != nil {
			t.Errorf("%s: %v", data, err)
			continue
		}
		want := *r
		want.Sequence = 0 // the log's to give
		if !reflect.DeepEqual(back, &want) {
			t.Errorf("%s\ngot  %+v\nwant %+v", data, back, &want)
		}
	}
}

// The largest record fits into a message of a default client, whatever its text.
func TestLargeCloudEvents(t *testing.T) {
	for _, text := range []string{"x", "\x01", "\u2028", `"`} {
		r := &event.Record{Id: "1", Type: "t", Data: strings.Repeat(text, event.MaxRecord/len(text)), Metadata: map[string]string{"content-type": "text/plain"}}
		data, err := event.MarshalCloudEvent(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 3<<20 {
			t.Errorf("%q: %d bytes", text, len(data))
		}
		if back, err := event.UnmarshalCloudEvent(data); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%q: does not come back, %v", text, err)
		}
	}
}

func TestCloudEventsSurviveRecords(t *testing.T) {
	for _, text := range []string{
		`{"specversion":"1.0","id":"1","source":"/s","type":"t"}`,
		`{"specversion":"1.0","id":"1","source":"urn:uuid:6e8bc430","type":"com.example.x","subject":"123","dataschema":"http://x/y","time":"2018-04-05T17:31:00.123456789Z","comexampleextension1":"value","comexampleothervalue":5,"flag":false,"datacontenttype":"application/json","data":{"appinfoA":"abc","appinfoB":1e3}}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/xml","data":"<much wow=\"xml\"/>"}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"application/octet-stream","data_base64":"AP8="}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"a JSON string"}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","partitionkey":"p","data":[1,"\u00e9",null]}`,
	} {
		r, err := event.UnmarshalCloudEvent([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		back, err := event.MarshalCloudEvent(r)
		if err != nil {
			t.Fatal(err)
		}
		var got, want map[string]any
		if json.Unmarshal(back, &got) != nil || json.Unmarshal([]byte(text), &want) != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %s\nwant %s", back, text)
		}
	}
}

func TestBadCloudEvents(t *testing.T) {
	const good = `"specversion":"1.0","id":"1","source":"/s","type":"t"`
	for attribute, text := range map[string]string{
		"JSON object":      `[]`,
		"specversion":      `{"specversion":"0.3","id":"1","source":"/s","type":"t"}`,
		"id":               `{"specversion":"1.0","source":"/s","type":"t"}`,
		"source":           `{"specversion":"1.0","id":"1","type":"t"}`,
		"type":             `{"specversion":"1.0","id":"1","source":"/s","type":5}`,
		"time":             `{` + good + `,"time":"yesterday"}`,
		"BAD":              `{` + good + `,"BAD":"x"}`,
		"nested":           `{` + good + `,"nested":{}}`,
		"big":              `{` + good + `,"big":5000000000}`,
		"data_base64":      `{` + good + `,"data_base64":"!"}`,
		"cloudevent.data:": `{` + good + `,"data":1,"data_base64":"AA=="}`,
	} {
		if _, err := event.UnmarshalCloudEvent([]byte(text)); !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), attribute) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzCloudEvent takes what anybody may send: what is understood survives the
// way there and back.
func FuzzCloudEvent(f *testing.F) {
	f.Add(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":[1,2]},"ext":true}`)
	f.Add(`{"specversion":"1.0","id":"1","source":"urn:micro:%20","type":"t","datacontenttype":"text/plain","data":"x","n":-1}`)
	f.Add(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"AP8=","micrometadata":"{\"A\":\"b\"}"}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := event.UnmarshalCloudEvent([]byte(text))
		if err != nil {
			return
		}
		data, err := event.MarshalCloudEvent(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := event.UnmarshalCloudEvent(data)
		if err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%q\n%s\ngot  %+v, %v\nwant %+v", text, data, back, err, r)
		}
	})
}

// FuzzRecord takes what anybody may publish: what the log would take survives
// the way to a CloudEvent and back.
func FuzzRecord(f *testing.F) {
	f.Add("1", "t", "shop", "", "", "null", "content-type", "application/json", "ce-x", "y", int64(5e9+6))
	f.Add("1", "t", "urn:micro:%zz", "r", "k", "\x00\xff", "ce-int-n", "5", "ce-n", "6", int64(1))
	f.Add("1", "t", "http://[::1", "r", "k", `"a"`, "content-type", "text/plain", "micrometadata", "{}", int64(0))
	f.Add("1", "t", "", "", "", "a\u2028b", "content-type", "application/xml", "ce-bool-b", "true", int64(7))
	f.Fuzz(func(t *testing.T, id, typ, origin, root, key, data, k1, v1, k2, v2 string, nano int64) {
		r := &event.Record{
			Id: id, Type: typ, Origin: origin, RootId: root, Key: key, Data: data, Metadata: map[string]string{k1: v1, k2: v2},
			TimestampNano: nano, Timestamp: time.Unix(0, nano).Unix(),
		}
		if wire.Validate(wire.Message((*wire.Record)(r))) != nil {
			return
		}
		text, err := event.MarshalCloudEvent(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := event.UnmarshalCloudEvent(text)
		if err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%s\ngot  %+v, %v\nwant %+v", text, back, err, r)
		}
	})
}
