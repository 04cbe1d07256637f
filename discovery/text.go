package discovery

import (
	"slices"
	"unicode/utf8"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/rpcerr"
)

// checkText refuses text that is not UTF-8, which protobuf and JSON do not take.
func checkText(s *registry.Service) error {
	for _, f := range []struct {
		name string
		ok   bool
	}{
		{"service.name", utf8.ValidString(s.Name)},
		{"service.version", utf8.ValidString(s.Version)},
		{"service.metadata", readableMap(s.Metadata)},
		{"service.nodes.id", !slices.ContainsFunc(s.Nodes, func(n *registry.Node) bool { return !utf8.ValidString(n.Id) })},
		{"service.nodes.address", !slices.ContainsFunc(s.Nodes, func(n *registry.Node) bool { return !utf8.ValidString(n.Address) })},
		{"service.nodes.metadata", !slices.ContainsFunc(s.Nodes, func(n *registry.Node) bool { return !readableMap(n.Metadata) })},
		{"service.endpoints", !slices.ContainsFunc(s.Endpoints, func(e *registry.Endpoint) bool { return !readableEndpoint(e) })},
	} {
		if !f.ok {
			return rpcerr.Invalid(f.name, "not UTF-8")
		}
	}
	return nil
}

func readableMap(m map[string]string) bool {
	for k, v := range m {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return false
		}
	}
	return true
}

func readableEndpoint(e *registry.Endpoint) bool {
	return e == nil || utf8.ValidString(e.Name) && readableMap(e.Metadata) && readableValue(e.Request) && readableValue(e.Response)
}

func readableValue(v *registry.Value) bool {
	return v == nil || utf8.ValidString(v.Name) && utf8.ValidString(v.Type) &&
		!slices.ContainsFunc(v.Values, func(inner *registry.Value) bool { return !readableValue(inner) })
}
