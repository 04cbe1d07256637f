// Package discovery is what services and discovery-srv say to each other, and its
// way to and from go-micro.
package discovery

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"net"
	"strconv"

	"go-micro.dev/v6/registry"
)

// FromService returns s as it goes over the wire. It copies.
func FromService(s *registry.Service) *Service {
	w := &Service{Name: s.Name, Version: s.Version, Metadata: maps.Clone(s.Metadata)}
	for _, e := range s.Endpoints {
		if e != nil {
			w.Endpoints = append(w.Endpoints, &Endpoint{
				Name: e.Name, Metadata: maps.Clone(e.Metadata),
				Request: fromValue(e.Request), Response: fromValue(e.Response),
			})
		}
	}
	for _, n := range s.Nodes {
		if n == nil {
			continue
		}
		node := &Node{Id: n.Id, Address: n.Address, Metadata: maps.Clone(n.Metadata)}
		if host, port, err := net.SplitHostPort(n.Address); err == nil {
			if number, err := strconv.ParseUint(port, 10, 16); err == nil && number > 0 {
				node.Address, node.Port = host, int64(number)
			}
		}
		w.Nodes = append(w.Nodes, node)
	}
	return w
}

func fromValue(v *registry.Value) *Value {
	if v == nil {
		return nil
	}
	w := &Value{Name: v.Name, Type: v.Type}
	for _, inner := range v.Values {
		w.Values = append(w.Values, fromValue(inner))
	}
	return w
}

// Registry returns the service as go-micro knows it. It copies.
func (x *Service) Registry() *registry.Service {
	s := &registry.Service{Name: x.GetName(), Version: x.GetVersion(), Metadata: maps.Clone(x.GetMetadata())}
	for _, e := range x.GetEndpoints() {
		s.Endpoints = append(s.Endpoints, &registry.Endpoint{
			Name: e.GetName(), Metadata: maps.Clone(e.GetMetadata()),
			Request: e.GetRequest().registry(), Response: e.GetResponse().registry(),
		})
	}
	for _, n := range x.GetNodes() {
		s.Nodes = append(s.Nodes, &registry.Node{Id: n.GetId(), Address: n.HostPort(), Metadata: maps.Clone(n.GetMetadata())})
	}
	return s
}

func (x *Value) registry() *registry.Value {
	if x == nil {
		return nil
	}
	v := &registry.Value{Name: x.Name, Type: x.Type}
	for _, inner := range x.Values {
		v.Values = append(v.Values, inner.registry())
	}
	return v
}

// HostPort returns the address of the node as go-micro writes it.
func (x *Node) HostPort() string {
	if x.GetPort() == 0 {
		return x.GetAddress()
	}
	return net.JoinHostPort(x.GetAddress(), strconv.FormatInt(x.GetPort(), 10))
}

// Key is what a discovery-srv keeps of a registrant's secret.
func Key(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// Commitment is what anybody may know of a key: it stands in the metadata of
// nodes at registries that everybody reads.
func Commitment(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Proof shows that a heartbeat by topic, which anybody could publish, comes
// from the one who knows the key.
func Proof(key []byte, service, version, node string, beat uint64) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range []string{service, version, node} {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write([]byte(part))
	}
	mac.Write(binary.BigEndian.AppendUint64(nil, beat))
	return mac.Sum(nil)
}
