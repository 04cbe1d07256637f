package conftree

import (
	"encoding/json"
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// decodeYAML reads the first document. It walks the nodes itself, because the
// library's decoder drops the text of numbers and dates.
func decodeYAML(data []byte) (any, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return Tree{}, nil // comments only
	}
	return (&yamlReader{}).value(doc.Content[0], 0)
}

// yamlReader bounds what aliases expand to.
type yamlReader struct{ nodes, bytes int }

func (y *yamlReader) value(n *yaml.Node, depth int) (any, error) {
	y.bytes += len(n.Value)
	if y.nodes++; y.nodes > MaxNodes || y.bytes > 2*MaxSize {
		return nil, invalid("aliases expand to more than %d values or %d bytes", MaxNodes, 2*MaxSize)
	}
	if depth > MaxDepth {
		return nil, errDepth()
	}
	switch n.Kind {
	case yaml.AliasNode:
		return y.value(n.Alias, depth+1)
	case yaml.MappingNode:
		return y.object(n, depth)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, x := range n.Content {
			var err error
			if list[i], err = y.value(x, depth+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return yamlScalar(n)
}

func (y *yamlReader) object(n *yaml.Node, depth int) (Tree, error) {
	object, merged := make(Tree, len(n.Content)/2), Tree{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, x := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			return nil, invalid("line %d: a key is not a text", key.Line)
		}
		if key.ShortTag() == "!!merge" {
			if err := y.merge(merged, x, depth); err != nil {
				return nil, err
			}
			continue
		}
		if _, there := object[key.Value]; there {
			return nil, invalid("line %d: the key %.32q is there twice", key.Line, key.Value)
		}
		v, err := y.value(x, depth+1)
		if err != nil {
			return nil, err
		}
		object[key.Value] = v
	}
	for key, v := range merged {
		if _, there := object[key]; !there {
			object[key] = v
		}
	}
	return object, nil
}

// merge adds the objects that << names. Of several the first with a key wins.
func (y *yamlReader) merge(into Tree, n *yaml.Node, depth int) error {
	v, err := y.value(n, depth+1)
	if err != nil {
		return err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, x := range list {
		object, ok := x.(Tree)
		if !ok {
			return invalid("line %d: what << names is not an object", n.Line)
		}
		for key, v := range object {
			if _, there := into[key]; !there {
				into[key] = v
			}
		}
	}
	return nil
}

func yamlScalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		err := n.Decode(&b)
		return b, err
	case "!!binary":
		var s string
		err := n.Decode(&s)
		return s, err
	case "!!int", "!!float":
		return yamlNumber(n)
	}
	return n.Value, nil
}

// yamlNumber keeps the text, also of numbers that JSON cannot write, as 0x1F.
func yamlNumber(n *yaml.Node) (any, error) {
	if json.Valid([]byte(n.Value)) {
		return number(n.Value)
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, err
	}
	switch x := v.(type) {
	case int:
		return Number{n.Value, strconv.Itoa(x)}, nil
	case int64, uint64:
		return Number{n.Value, fmt.Sprint(x)}, nil
	case float64:
		v, err := float(x)
		if err != nil {
			return nil, err
		}
		return Number{n.Value, v.(Number).json}, nil
	}
	return n.Value, nil
}
