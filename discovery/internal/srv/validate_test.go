package srv_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	discoverysrv "github.com/micro/go-platform/discovery/internal/srv"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

func valid() *pb.Service {
	return &pb.Service{Name: "shop", Version: "v1", Nodes: []*pb.Node{{Id: "shop-1", Address: "10.0.0.1", Port: 80}}}
}

func TestAddresses(t *testing.T) {
	const everybody, loopback, nobody = "everybody", "who is on loopback", "nobody"
	for address, who := range map[string]string{ // who may register it
		"169.254.169.254":           nobody,
		"::ffff:169.254.169.254":    nobody,
		"fe80::1":                   nobody,
		"fe80::1%eth0":              nobody,
		"fd00:ec2::254":             nobody,
		"100.100.100.200":           nobody,
		"metadata.google.internal":  nobody,
		"METADATA.google.internal.": nobody,
		"0.0.0.0":                   nobody,
		"::":                        nobody,
		"224.0.0.1":                 nobody,
		"255.255.255.255":           nobody,
		"2852039166":                nobody,
		"0xa9fea9fe":                nobody,
		"127.1":                     nobody,
		"a b":                       nobody,
		"a\n":                       nobody,
		"a..b":                      nobody,
		"":                          nobody,
		"user@host":                 nobody,
		strings.Repeat("a.", 200):   nobody,
	} {
		for _, peer := range []string{"127.0.0.1", "::1", "10.0.0.2"} {
			s := valid()
			s.Nodes[0].Address = address
			err := discoverysrv.CheckService(s, peer)
			may := who == everybody || who == loopback && peer != "10.0.0.2"
			if may != (err == nil) || err != nil && !errors.Is(err, rpcerr.ErrInvalid) {
				t.Errorf("%q registered from %s: %v", address, peer, err)
			}
		}
	}
}

func TestBadServices(t *testing.T) {
	many := map[string]string{}
	for i := range 65 {
		many[fmt.Sprint(i)] = ""
	}
	deep := &pb.Value{}
	for range 20 {
		deep = &pb.Value{Values: []*pb.Value{deep}}
	}
	for field, change := range map[string]func(*pb.Service){
		"service.name":           func(s *pb.Service) { s.Name = "" },
		"service.name: ":         func(s *pb.Service) { s.Name = "a\nb" },
		"registers itself":       func(s *pb.Service) { s.Name = "go.micro.srv.discovery" },
		"service.version":        func(s *pb.Service) { s.Version = "\x00" },
		"service.nodes: ":        func(s *pb.Service) { s.Nodes = nil },
		"service.nodes.id: ":     func(s *pb.Service) { s.Nodes[0].Id = "" },
		"twice":                  func(s *pb.Service) { s.Nodes = append(s.Nodes, s.Nodes[0]) },
		"service.nodes.id":       func(s *pb.Service) { s.Nodes[0] = nil },
		"service.nodes.port":     func(s *pb.Service) { s.Nodes[0].Port = 0 },
		"port: ":                 func(s *pb.Service) { s.Nodes[0].Port = 65536 },
		"service.metadata":       func(s *pb.Service) { s.Metadata = many },
		"service.nodes.metadata": func(s *pb.Service) { s.Nodes[0].Metadata = map[string]string{"a": strings.Repeat("x", 9000)} },
		"printable":              func(s *pb.Service) { s.Nodes[0].Metadata = map[string]string{"a": "b\r\nc"} },
		"service.endpoints":      func(s *pb.Service) { s.Endpoints = []*pb.Endpoint{{Request: deep}} },
		"bytes, more than":       func(s *pb.Service) { s.Endpoints = []*pb.Endpoint{{Name: strings.Repeat("x", 70000)}} },
	} {
		s := valid()
		change(s)
		if err := discoverysrv.CheckService(s, "10.0.0.2"); !errors.Is(err, rpcerr.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := discoverysrv.CheckService(nil, "10.0.0.2"); !errors.Is(err, rpcerr.ErrInvalid) {
		t.Error(err)
	}
	if err := discoverysrv.CheckService(valid(), "10.0.0.2"); err != nil {
		t.Error(err)
	}
}

// Whatever comes is refused or survives the way to go-micro and back.
func FuzzService(f *testing.F) {
	seed := valid()
	seed.Metadata = map[string]string{"a": "b"}
	seed.Endpoints = []*pb.Endpoint{{Name: "e", Request: &pb.Value{Name: "r", Values: []*pb.Value{{Name: "x"}}}}}
	text, err := proto.Marshal(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("\x2a\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &pb.Service{}
		if proto.Unmarshal(text, s) != nil || discoverysrv.CheckService(s, "127.0.0.1") != nil {
			return
		}
		again := pb.FromService(s.Registry())
		if again.Name != s.Name || len(again.Nodes) != len(s.Nodes) || !maps.Equal(again.Metadata, s.Metadata) {
			t.Fatalf("%v became %v", s, again)
		}
		for i, n := range s.Nodes {
			if again.Nodes[i].HostPort() != n.HostPort() || again.Nodes[i].Id != n.Id {
				t.Fatalf("%v became %v", n, again.Nodes[i])
			}
		}
	})
}
