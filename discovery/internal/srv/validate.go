package srv

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/go-platform/discovery"
	pb "github.com/micro/go-platform/discovery/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
)

// What one registration may hold.
const (
	maxService   = 64 << 10 // bytes
	maxNodes     = 100
	maxEndpoints = 1024
	maxDepth     = 16 // of the types of endpoints
	maxSecret    = 256
	minInterval  = 10 * time.Millisecond
	maxTTL       = 24 * time.Hour
)

// checkService refuses what cannot be registered by a peer on that host.
func checkService(s *pb.Service, peer netip.Addr) error {
	switch {
	case s == nil:
		return rpcerr.Invalid("service", "missing")
	case proto.Size(s) > maxService:
		return rpcerr.Invalid("service", "%d bytes, more than %d", proto.Size(s), maxService)
	case !clean.Name(s.Name, 256):
		return rpcerr.Invalid("service.name", "not 1 to 256 printable characters")
	case s.Name == discovery.ServiceName:
		return rpcerr.Invalid("service.name", "%s registers itself", s.Name)
	case s.Version != "" && !clean.Name(s.Version, 128):
		return rpcerr.Invalid("service.version", "not printable, or more than 128 bytes")
	case len(s.Nodes) == 0 || len(s.Nodes) > maxNodes:
		return rpcerr.Invalid("service.nodes", "%d, want 1 to %d", len(s.Nodes), maxNodes)
	case len(s.Endpoints) > maxEndpoints:
		return rpcerr.Invalid("service.endpoints", "%d, more than %d", len(s.Endpoints), maxEndpoints)
	}
	if err := checkMetadata("service.metadata", s.Metadata); err != nil {
		return err
	}
	for _, e := range s.Endpoints {
		if e == nil || depth(e.Request) > maxDepth || depth(e.Response) > maxDepth {
			return rpcerr.Invalid("service.endpoints", "missing, or nested deeper than %d", maxDepth)
		}
	}
	return checkNodes(s.Nodes, peer)
}

func checkNodes(nodes []*pb.Node, peer netip.Addr) error {
	seen := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		if n == nil || !clean.Name(n.Id, 512) {
			return rpcerr.Invalid("service.nodes.id", "not 1 to 512 printable characters")
		}
		if seen[n.Id] {
			return rpcerr.Invalid("service.nodes.id", "%q twice", n.Id)
		}
		seen[n.Id] = true
		if err := checkMetadata("service.nodes.metadata", n.Metadata); err != nil {
			return err
		}
		if err := checkAddress(n, peer); err != nil {
			return err
		}
	}
	return nil
}

func checkMetadata(field string, m map[string]string) error {
	if len(m) > clean.MaxPairs {
		return rpcerr.Invalid(field, "%d keys, more than %d", len(m), clean.MaxPairs)
	}
	size := 0
	for k, v := range m {
		size += len(k) + len(v)
		if !clean.Name(k, 256) || v != "" && !clean.Name(v, clean.MaxBytes) {
			return rpcerr.Invalid(field, "key %.64q or its value is not printable or too long", k)
		}
	}
	if size > clean.MaxBytes {
		return rpcerr.Invalid(field, "%d bytes, more than %d", size, clean.MaxBytes)
	}
	return nil
}

func depth(v *pb.Value) int {
	deepest := 0
	for _, inner := range v.GetValues() {
		deepest = max(deepest, depth(inner))
	}
	if v == nil {
		return 0
	}
	return deepest + 1
}

// Metadata services of clouds outside the link-local range.
var metadataHosts = []string{"metadata", "metadata.google.internal", "instance-data", "100.100.100.200", "fd00:ec2::254"} //nolint:gochecknoglobals // a constant

// checkAddress refuses addresses that would turn the callers of a service
// against a machine's own or its cloud's services: link-local ones always, those
// of the loopback interface unless the registrant is there itself.
func checkAddress(n *pb.Node, peer netip.Addr) error {
	const field = "service.nodes.address"
	host := strings.ToLower(strings.TrimSuffix(n.Address, "."))
	switch {
	case n.Port < 1 || n.Port > 65535:
		return rpcerr.Invalid("service.nodes.port", "%d is not within 1 and 65535", n.Port)
	case slices.Contains(metadataHosts, host):
		return rpcerr.Invalid(field, "%s is a metadata service", host)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return checkHostname(host, peer)
	}
	ip = ip.Unmap()
	switch {
	case ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return rpcerr.Invalid(field, "%s is not the address of a node", host)
	case ip.IsLinkLocalUnicast():
		return rpcerr.Invalid(field, "%s is link-local", host)
	case slices.Contains(metadataHosts, ip.String()):
		return rpcerr.Invalid(field, "%s is a metadata service", host)
	case ip.IsLoopback() && !peer.IsLoopback():
		return rpcerr.Invalid(field, "%s is a loopback address and the registrant is on %s", host, peer)
	}
	return nil
}

func checkHostname(host string, peer netip.Addr) error {
	const field = "service.nodes.address"
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		if peer.IsLoopback() {
			return nil
		}
		return rpcerr.Invalid(field, "%s is a loopback address and the registrant is on %s", host, peer)
	}
	if len(host) == 0 || len(host) > 253 {
		return rpcerr.Invalid(field, "not 1 to 253 characters")
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return rpcerr.Invalid(field, "%.64q is neither an IP address nor a host name", host)
		}
	}
	// Resolvers take 0x7f000001, 2130706433 and 127.1 for addresses.
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return rpcerr.Invalid(field, "%.64q ends in a number", host)
	}
	return nil
}

// checkTimes returns the interval and ttl of a registration.
func checkTimes(intervalMs, ttlMs int64) (interval, ttl time.Duration, err error) {
	limit := maxTTL.Milliseconds()
	switch {
	case intervalMs < 0 || intervalMs > limit || intervalMs > 0 && intervalMs < minInterval.Milliseconds():
		return 0, 0, rpcerr.Invalid("interval_ms", "%d is not within %v and %v", intervalMs, minInterval, maxTTL)
	case ttlMs < 0 || ttlMs > limit || ttlMs > 0 && ttlMs < minInterval.Milliseconds():
		return 0, 0, rpcerr.Invalid("ttl_ms", "%d is not within %v and %v", ttlMs, minInterval, maxTTL)
	}
	return time.Duration(intervalMs) * time.Millisecond, time.Duration(ttlMs) * time.Millisecond, nil
}
