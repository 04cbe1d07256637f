package conftree

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// decodeTOML reads a document. It walks the nodes itself, because the library's
// decoder drops the text of numbers and dates; what may not be in a document the
// decoder has judged before.
func decodeTOML(data []byte) (any, error) {
	if err := toml.Unmarshal(data, &map[string]any{}); err != nil {
		return nil, err
	}
	var p unstable.Parser
	p.Reset(data)
	root := Tree{}
	table := root
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			table = tomlTable(root, tomlKey(e))
		case unstable.ArrayTable:
			path := tomlKey(e)
			last := path[len(path)-1]
			above := tomlTable(root, path[:len(path)-1])
			list, _ := above[last].([]any) // nil before the first
			table = Tree{}
			above[last] = append(list, table)
		case unstable.KeyValue:
			if err := tomlSet(table, e); err != nil {
				return nil, err
			}
		}
	}
	return root, p.Error()
}

func tomlKey(n *unstable.Node) (path []string) {
	for it := n.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
	}
	return path
}

// tomlTable returns the table at a path, of a list the last one, and makes those
// that are not there.
func tomlTable(t Tree, path []string) Tree {
	for _, key := range path {
		at := t[key]
		if list, ok := at.([]any); ok && len(list) > 0 {
			at = list[len(list)-1]
		}
		next, ok := at.(Tree)
		if !ok {
			next = Tree{}
			t[key] = next
		}
		t = next
	}
	return t
}

func tomlSet(t Tree, n *unstable.Node) error {
	path := tomlKey(n)
	v, err := tomlValue(n.Value())
	if err == nil {
		tomlTable(t, path[:len(path)-1])[path[len(path)-1]] = v
	}
	return err
}

func tomlValue(n *unstable.Node) (any, error) {
	switch n.Kind {
	case unstable.Array:
		list := []any{}
		for it := n.Children(); it.Next(); {
			v, err := tomlValue(it.Node())
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case unstable.InlineTable:
		t := Tree{}
		for it := n.Children(); it.Next(); {
			if err := tomlSet(t, it.Node()); err != nil {
				return nil, err
			}
		}
		return t, nil
	case unstable.Bool:
		return string(n.Data) == "true", nil
	case unstable.Integer, unstable.Float:
		return tomlNumber(string(n.Data))
	}
	return string(n.Data), nil // texts, dates and times
}

// tomlNumber keeps the text, also of numbers that JSON cannot write, as 0x1F.
func tomlNumber(text string) (any, error) {
	if json.Valid([]byte(text)) {
		return number(text)
	}
	if i, err := strconv.ParseInt(text, 0, 64); err == nil {
		return Number{text, strconv.FormatInt(i, 10)}, nil
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil {
		return nil, err
	}
	v, err := float(f)
	if err != nil {
		return nil, err
	}
	return Number{text, v.(Number).json}, nil
}
