package event

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The mapping to CloudEvents 1.0, which loses nothing either way:
//
//	id, type        Id, Type
//	source          Origin; text that is no URI reference, and none, as "urn:micro:" and the text escaped
//	time            Timestamp and TimestampNano
//	partitionkey    Key
//	rootid          RootId
//	sequence        Sequence; ignored on the way in, where the log gives it
//	datacontenttype Metadata["content-type"]
//	NAME            Metadata["ce-NAME"], or "ce-int-NAME" and "ce-bool-NAME" where the JSON had a number or a boolean
//	micrometadata   all other Metadata, as a JSON object in a string
//	data            Data, where it is text of the content type and JSON holds it in 2 MB; else data_base64
const (
	contentType = "content-type"
	cePrefix    = "ce-"
	ceInt       = "ce-int-"
	ceBool      = "ce-bool-"
	originURN   = "urn:micro:"
	otherAttr   = "micrometadata"
)

// MaxCloudEvents is how many events one batch may hold.
const MaxCloudEvents = 1000

// MarshalCloudEvents returns the records in the JSON batch format of
// CloudEvents 1.0 (application/cloudevents-batch+json).
func MarshalCloudEvents(records []*Record) ([]byte, error) {
	all := make([]json.RawMessage, len(records))
	for i, r := range records {
		one, err := MarshalCloudEvent(r)
		if err != nil {
			return nil, err
		}
		all[i] = one
	}
	return marshal(all)
}

// MarshalCloudEvent returns the record in the JSON format of CloudEvents 1.0
// (application/cloudevents+json).
func MarshalCloudEvent(r *Record) ([]byte, error) {
	attrs := map[string]any{"specversion": "1.0", "id": r.Id, "type": r.Type, "source": source(r.Origin)}
	put := func(name, value string) {
		if value != "" {
			attrs[name] = value
		}
	}
	put("partitionkey", r.Key)
	put("rootid", r.RootId)
	if at := r.Time(); !at.IsZero() {
		attrs["time"] = at.UTC().Format(time.RFC3339Nano)
	}
	if r.Sequence > 0 {
		attrs["sequence"] = strconv.FormatUint(r.Sequence, 10)
	}
	if err := putMetadata(attrs, r.Metadata); err != nil {
		return nil, err
	}
	putData(attrs, r)
	return marshal(attrs)
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: cloudevent: %w", ErrInvalid, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func source(origin string) string {
	if u, err := url.Parse(origin); err == nil && origin != "" && u.String() == origin && !strings.HasPrefix(origin, originURN) {
		return origin
	}
	return originURN + url.PathEscape(origin)
}

func origin(source string) string {
	if escaped, ok := strings.CutPrefix(source, originURN); ok {
		if text, err := url.PathUnescape(escaped); err == nil {
			return text
		}
	}
	return source
}

// reserved are the attributes that the mapping uses itself.
func reserved(name string) bool {
	return slices.Contains([]string{
		"specversion", "id", "type", "source", "time", "partitionkey", "rootid", "sequence",
		"datacontenttype", "data", "data_base64", otherAttr,
	}, name)
}

func attribute(name string) bool {
	return name != "" && !reserved(name) &&
		strings.IndexFunc(name, func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') }) < 0
}

func putMetadata(attrs map[string]any, md map[string]string) error {
	other := make(map[string]string)
	for k, v := range md {
		if k == contentType && v != "" {
			attrs["datacontenttype"] = v
			continue
		}
		name, value, ok := typed(k, v)
		if _, taken := attrs[name]; !ok || taken {
			other[k] = v
			continue
		}
		attrs[name] = value
	}
	if len(other) == 0 {
		return nil
	}
	text, err := marshal(other)
	if err == nil {
		attrs[otherAttr] = string(text)
	}
	return err
}

// typed returns the attribute that a pair of the metadata stands for.
func typed(k, v string) (name string, value any, ok bool) {
	if n, is := strings.CutPrefix(k, ceInt); is && attribute(n) {
		i, err := strconv.ParseInt(v, 10, 32)
		return n, i, err == nil && strconv.FormatInt(i, 10) == v
	}
	if n, is := strings.CutPrefix(k, ceBool); is && attribute(n) {
		return n, v == "true", v == "true" || v == "false"
	}
	n, is := strings.CutPrefix(k, cePrefix)
	return n, v, is && attribute(n) && v != ""
}

// putData writes the data so that it comes back byte by byte.
func putData(attrs map[string]any, r *Record) {
	if r.Data == "" {
		return
	}
	mediaType, stated := attrs["datacontenttype"].(string)
	switch {
	case (!stated || isJSON(mediaType)) && compact(r.Data):
		attrs["data"] = json.RawMessage(r.Data)
	case stated && !isJSON(mediaType) && isText(mediaType) && strings.ToValidUTF8(r.Data, "") == r.Data && !swells(r.Data):
		attrs["data"] = r.Data
	default:
		attrs["data_base64"] = []byte(r.Data)
	}
}

// maxText is the room that JSON may take for a text: with base64 a record of MaxRecord
// takes 1.4 MB, but control characters swell to six times their size, which no
// message of go-micro's default client holds.
const maxText = 2 << 20

func swells(text string) bool {
	if len(text)*6 <= maxText {
		return false
	}
	encoded, err := marshal(text)
	return err != nil || len(encoded) > maxText
}

func isJSON(mediaType string) bool {
	t, _, err := mime.ParseMediaType(mediaType)
	return err == nil && (t == "application/json" || t == "text/json" || strings.HasSuffix(t, "+json"))
}

func isText(mediaType string) bool {
	t, _, err := mime.ParseMediaType(mediaType)
	return err == nil && (strings.HasPrefix(t, "text/") || t == "application/xml" || strings.HasSuffix(t, "+xml"))
}

// compact reports whether the text is JSON that encoding leaves as it is. That
// null means no data is CloudEvents' rule.
func compact(text string) bool {
	if text == "null" || !json.Valid([]byte(text)) || strings.ToValidUTF8(text, "") != text {
		return false
	}
	var b bytes.Buffer
	return json.Compact(&b, []byte(text)) == nil && b.String() == text
}

// UnmarshalCloudEvents is the inverse of MarshalCloudEvents. The error is an
// ErrInvalid.
func UnmarshalCloudEvents(data []byte) ([]*Record, error) {
	var all []json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%w: events: not a JSON array: %w", ErrInvalid, err)
	}
	if len(all) > MaxCloudEvents {
		return nil, fmt.Errorf("%w: events: %d, more than %d", ErrInvalid, len(all), MaxCloudEvents)
	}
	records := make([]*Record, len(all))
	for i, one := range all {
		r, err := UnmarshalCloudEvent(one)
		if err != nil {
			return nil, fmt.Errorf("events[%d]: %w", i, err)
		}
		records[i] = r
	}
	return records, nil
}

// UnmarshalCloudEvent is the inverse of MarshalCloudEvent. The error is an
// ErrInvalid that names the attribute.
func UnmarshalCloudEvent(data []byte) (*Record, error) {
	var attrs map[string]json.RawMessage
	if err := json.Unmarshal(data, &attrs); err != nil {
		return nil, fmt.Errorf("%w: cloudevent: not a JSON object: %w", ErrInvalid, err)
	}
	u := unmarshaler{attrs: attrs, record: &Record{}}
	r := u.record
	if version := u.text("specversion", true); u.err == nil && version != "1.0" {
		return nil, fmt.Errorf("%w: cloudevent.specversion: %.20q, want 1.0", ErrInvalid, version)
	}
	r.Id, r.Type = u.text("id", true), u.text("type", true)
	r.Origin = origin(u.text("source", true))
	r.Key, r.RootId = u.text("partitionkey", false), u.text("rootid", false)
	u.text("sequence", false)
	if at := u.text("time", false); at != "" {
		t, err := time.Parse(time.RFC3339Nano, at)
		u.fail("time", err)
		r.Timestamp, r.TimestampNano = t.Unix(), t.UnixNano()
	}
	u.metadata()
	u.data()
	return r, u.err
}

// unmarshaler takes attribute after attribute; the first error counts.
type unmarshaler struct {
	attrs  map[string]json.RawMessage
	record *Record
	err    error
}

func (u *unmarshaler) fail(name string, err error) {
	if err != nil && u.err == nil {
		u.err = fmt.Errorf("%w: cloudevent.%s: %w", ErrInvalid, name, err)
	}
}

// take removes an attribute; null counts as absent.
func (u *unmarshaler) take(name string) (json.RawMessage, bool) {
	raw, ok := u.attrs[name]
	delete(u.attrs, name)
	return raw, ok && string(raw) != "null"
}

func (u *unmarshaler) text(name string, required bool) (s string) {
	raw, ok := u.take(name)
	if ok {
		u.fail(name, json.Unmarshal(raw, &s))
	}
	if required && s == "" {
		u.fail(name, fmt.Errorf("missing"))
	}
	return s
}

func (u *unmarshaler) metadata() {
	md := make(map[string]string)
	if t := u.text("datacontenttype", false); t != "" {
		md[contentType] = t
	}
	if other := u.text(otherAttr, false); other != "" {
		u.fail(otherAttr, json.Unmarshal([]byte(other), &md))
	}
	for _, name := range slices.Sorted(maps.Keys(u.attrs)) {
		if name == "data" || name == "data_base64" {
			continue
		}
		if !attribute(name) {
			u.fail(fmt.Sprintf("%.40q", name), fmt.Errorf("not a name of lower-case letters and digits"))
			continue
		}
		u.extension(md, name)
	}
	if len(md) > 0 {
		u.record.Metadata = md
	}
}

func (u *unmarshaler) extension(md map[string]string, name string) {
	raw, ok := u.take(name)
	if !ok {
		return
	}
	var v any
	u.fail(name, json.Unmarshal(raw, &v))
	switch v := v.(type) {
	case string:
		md[cePrefix+name] = v
	case bool:
		md[ceBool+name] = strconv.FormatBool(v)
	case float64:
		if _, err := strconv.ParseInt(string(raw), 10, 32); err != nil {
			u.fail(name, fmt.Errorf("not an integer of 32 bits"))
		}
		md[ceInt+name] = string(raw)
	default:
		u.fail(name, fmt.Errorf("neither text, nor a number or boolean"))
	}
}

func (u *unmarshaler) data() {
	if raw, ok := u.take("data_base64"); ok {
		var text string
		u.fail("data_base64", json.Unmarshal(raw, &text))
		data, err := base64.StdEncoding.DecodeString(text)
		u.fail("data_base64", err)
		u.record.Data = string(data)
		if _, both := u.take("data"); both {
			u.fail("data", fmt.Errorf("beside data_base64"))
		}
		return
	}
	raw, ok := u.take("data")
	if !ok {
		return
	}
	t := u.record.Metadata[contentType]
	var text string
	if t != "" && !isJSON(t) && json.Unmarshal(raw, &text) == nil {
		u.record.Data = text
		return
	}
	var b bytes.Buffer
	u.fail("data", json.Compact(&b, raw))
	u.record.Data = b.String()
}
