package discoverytest

import (
	"errors"
	"strings"
	"testing"

	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/discovery"
)

// testText: text that is not UTF-8 cannot go over the wire. It is refused at once,
// by the name of its field, and costs no other node anything.
func testText(t *testing.T, newDiscovery New) {
	a := start(t, newDiscovery)
	const bad = "a\xff"
	for _, c := range []struct {
		field  string
		change func(*registry.Service)
	}{
		{"service.name", func(s *registry.Service) { s.Name = bad }},
		{"service.version", func(s *registry.Service) { s.Version = bad }},
		{"service.metadata", func(s *registry.Service) { s.Metadata = map[string]string{bad: "b"} }},
		{"service.metadata", func(s *registry.Service) { s.Metadata = map[string]string{"b": bad} }},
		{"service.nodes.id", func(s *registry.Service) { s.Nodes[1].Id = bad }},
		{"service.nodes.address", func(s *registry.Service) { s.Nodes[1].Address = bad + ":80" }},
		{"service.nodes.metadata", func(s *registry.Service) { s.Nodes[1].Metadata = map[string]string{bad: "b"} }},
		{"service.nodes.metadata", func(s *registry.Service) { s.Nodes[1].Metadata = map[string]string{"b": bad} }},
		{"service.endpoints", func(s *registry.Service) { s.Endpoints = []*registry.Endpoint{nil, {Name: bad}} }},
		{"service.endpoints", func(s *registry.Service) {
			s.Endpoints = []*registry.Endpoint{{Name: "e", Metadata: map[string]string{"b": bad}}}
		}},
		{"service.endpoints", func(s *registry.Service) {
			s.Endpoints = []*registry.Endpoint{{Name: "e", Request: &registry.Value{Values: []*registry.Value{nil, {Name: bad}}}}}
		}},
		{"service.endpoints", func(s *registry.Service) {
			s.Endpoints = []*registry.Endpoint{{Name: "e", Response: &registry.Value{Type: bad}}}
		}},
	} {
		s := service(t, "v1", "x", "y")
		c.change(s)
		if err := a.Register(s); !errors.Is(err, discovery.ErrInvalid) || !strings.HasPrefix(err.Error(), "discovery: register: "+c.field+": ") {
			t.Errorf("%s: %v", c.field, err)
		}
	}
	s := service(t, "ü", "a")
	s.Metadata = map[string]string{"ä": "日本"}
	register(t, a, s)
	seen(t, a, name(t), "ü:a")
}
