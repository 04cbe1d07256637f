package conftree

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/micro/go-platform/internal/rpcerr"
)

// Formats returns the formats that Decode reads.
func Formats() []string { return []string{"json", "yaml", "toml"} }

// Decode reads a document whose root is an object. An empty one is {}.
func Decode(format string, data []byte) (Tree, error) {
	if len(data) > MaxSize {
		return nil, invalid("%d bytes, more than %d", len(data), MaxSize)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		if !slices.Contains(Formats(), cmp.Or(format, "json")) {
			return nil, errFormat(format)
		}
		return Tree{}, nil
	}
	v, err := decode(format, data)
	if err != nil {
		return nil, err
	}
	n := normalizer{}
	v, err = n.value(v, 0)
	if err != nil {
		return nil, err
	}
	t, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("the root is not an object")
	}
	return t, nil
}

func decode(format string, data []byte) (v any, err error) {
	switch format {
	case "", "json":
		return decodeJSON(data)
	case "yaml":
		if tooDeep(data) {
			return nil, errDepth()
		}
		v, err = decodeYAML(data)
	case "toml":
		if tooDeep(data) {
			return nil, errDepth()
		}
		v, err = decodeTOML(data)
	default:
		return nil, errFormat(format)
	}
	if err != nil && errors.Is(err, rpcerr.ErrInvalid) {
		return nil, err
	}
	if err != nil {
		return nil, invalid("%s: %.200s", format, err)
	}
	return v, nil
}

func errFormat(format string) error {
	return invalid("unknown format %.32q, want one of %s", format, strings.Join(Formats(), ", "))
}

// tooDeep keeps deeply nested brackets from parsers that recurse without a
// bound. It counts those in strings too, hence the margin.
func tooDeep(data []byte) bool {
	depth := 0
	for _, c := range data {
		switch c {
		case '[', '{':
			if depth++; depth > 16*MaxDepth {
				return true
			}
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return false
}

func errDepth() error { return invalid("deeper than %d", MaxDepth) }

// DecodeJSON reads any JSON value.
func DecodeJSON(data []byte) (any, error) {
	if len(data) > MaxSize {
		return nil, invalid("%d bytes, more than %d", len(data), MaxSize)
	}
	v, err := decodeJSON(data)
	if err != nil {
		return nil, err
	}
	n := normalizer{}
	return n.value(v, 0)
}

func decodeJSON(data []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, invalid("json: the document ends too early")
		}
		return nil, invalid("json: %.200s", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid("json: something follows the document at byte %d", d.InputOffset())
	}
	return v, nil
}

// normalizer makes one set of types of what the parsers return, within bounds.
type normalizer struct{ nodes int }

func (n *normalizer) value(v any, depth int) (any, error) {
	if n.nodes++; n.nodes > MaxNodes {
		return nil, invalid("more than %d values", MaxNodes)
	}
	if depth > MaxDepth {
		return nil, errDepth()
	}
	switch v := v.(type) {
	case map[string]any:
		return n.object(v, depth)
	case []any:
		list := make([]any, len(v))
		for i, x := range v {
			x, err := n.value(x, depth+1)
			if err != nil {
				return nil, err
			}
			list[i] = x
		}
		return list, nil
	}
	return scalar(v)
}

func (n *normalizer) object(v map[string]any, depth int) (any, error) {
	for key, x := range v {
		if len(key) > MaxKey || !utf8.ValidString(key) {
			return nil, invalid("key %.32q is not at most %d bytes of UTF-8", key, MaxKey)
		}
		x, err := n.value(x, depth+1)
		if err != nil {
			return nil, err
		}
		v[key] = x
	}
	return v, nil
}

func scalar(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, Number:
		return v, nil
	case string:
		return strings.ToValidUTF8(v, "\uFFFD"), nil
	case json.Number:
		return number(string(v))
	}
	return nil, invalid("a value of type %T", v)
}
