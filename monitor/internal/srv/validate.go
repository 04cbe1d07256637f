package srv

import (
	"math"
	"strings"
	"time"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/monitor/proto"
)

// What one report may hold.
const (
	maxChecks    = 128
	maxStatuses  = 64
	maxWindows   = 32
	maxEndpoints = 1024
	maxReasons   = maxChecks + 1
)

// What a node may claim as its interval.
const (
	minInterval = 100 * time.Millisecond
	maxInterval = time.Hour
)

// checkReport refuses what cannot be, and cleans the text of the rest.
func checkReport(r *pb.ReportRequest) error {
	if err := checkService(r.Service); err != nil {
		return err
	}
	if !clean.Name(r.Incarnation, 64) {
		return rpcerr.Invalid("incarnation", "not 1 to 64 printable characters")
	}
	if d := time.Duration(r.IntervalMs) * time.Millisecond; r.IntervalMs > maxInterval.Milliseconds() || d < minInterval {
		return rpcerr.Invalid("interval_ms", "%d is not within 100 ms and 1 h", r.IntervalMs)
	}
	switch {
	case r.Current == nil:
		return rpcerr.Invalid("current", "missing")
	case len(r.Checks) > maxChecks:
		return rpcerr.Invalid("checks", "%d, more than %d", len(r.Checks), maxChecks)
	case len(r.Statuses) > maxStatuses:
		return rpcerr.Invalid("statuses", "%d, more than %d", len(r.Statuses), maxStatuses)
	case len(r.Stats) > maxWindows:
		return rpcerr.Invalid("stats", "%d, more than %d", len(r.Stats), maxWindows)
	case len(r.NotReady) > maxReasons:
		return rpcerr.Invalid("not_ready", "%d, more than %d", len(r.NotReady), maxReasons)
	}
	return checkParts(r)
}

func checkParts(r *pb.ReportRequest) error {
	for _, s := range append(r.Statuses[:len(r.Statuses):len(r.Statuses)], r.Current) {
		if err := checkStatus(s); err != nil {
			return err
		}
	}
	seen := make(map[string]bool, len(r.Checks))
	for _, c := range r.Checks {
		if err := checkCheck(c); err != nil {
			return err
		}
		if seen[c.Id] {
			return rpcerr.Invalid("checks.id", "%q twice", c.Id)
		}
		seen[c.Id] = true
	}
	for _, s := range r.Stats {
		if err := checkStats(s); err != nil {
			return err
		}
	}
	for i, reason := range r.NotReady {
		r.NotReady[i] = clean.Text(reason, 256)
	}
	return nil
}

// checkService wants exactly one node whose id is the service's name, a hyphen
// and something, as go-micro registers it.
func checkService(s *pb.Service) error {
	switch {
	case s == nil:
		return rpcerr.Invalid("service", "missing")
	case !clean.Name(s.Name, 256):
		return rpcerr.Invalid("service.name", "not 1 to 256 printable characters")
	case len(s.Nodes) != 1 || s.Nodes[0] == nil:
		return rpcerr.Invalid("service.nodes", "%d nodes: a report speaks for one", len(s.Nodes))
	}
	n := s.Nodes[0]
	if !clean.Name(n.Id, 512) || !strings.HasPrefix(n.Id, s.Name+"-") {
		return rpcerr.Invalid("service.nodes.id", "not a node of service %s", s.Name)
	}
	s.Version, s.Metadata = clean.Text(s.Version, 128), clean.Map(s.Metadata)
	n.Address, n.Metadata = clean.Text(n.Address, 256), clean.Map(n.Metadata)
	n.Port = min(max(n.Port, 0), math.MaxUint16)
	return nil
}

func checkStatus(s *pb.Status) error {
	if s == nil || pb.Status_Status_name[int32(s.Status)] == "" || s.Status == pb.Status_UNKNOWN {
		return rpcerr.Invalid("status", "not one that a service can have")
	}
	s.Info, s.Details = clean.Text(s.Info, 4<<10), clean.Map(s.Details)
	s.NotReady = nil
	return nil
}

func checkCheck(c *pb.HealthCheck) error {
	switch {
	case c == nil || !clean.Name(c.Id, 128):
		return rpcerr.Invalid("checks.id", "not 1 to 128 printable characters")
	case pb.HealthCheck_Status_name[int32(c.Status)] == "":
		return rpcerr.Invalid("checks.status", "%d", c.Status)
	case pb.HealthCheck_Kind_name[int32(c.Kind)] == "":
		return rpcerr.Invalid("checks.kind", "%d", c.Kind)
	}
	c.Description, c.Error = clean.Text(c.Description, 1<<10), clean.Text(c.Error, 1<<10)
	c.Results = clean.Map(c.Results)
	return nil
}

func checkStats(s *pb.Stats) error {
	switch {
	case s == nil:
		return rpcerr.Invalid("stats", "missing")
	case len(s.Endpoints) > maxEndpoints:
		return rpcerr.Invalid("stats.endpoints", "%d, more than %d", len(s.Endpoints), maxEndpoints)
	}
	for _, e := range s.Endpoints {
		if e == nil {
			return rpcerr.Invalid("stats.endpoints", "missing")
		}
		e.Service, e.Method = clean.Text(e.Service, 256), clean.Text(e.Method, 256)
		for _, m := range []*pb.Metrics{e.Errors, e.Success, e.Dropped} {
			if !sane(m) {
				return rpcerr.Invalid("stats.endpoints", "%s.%s: a count or duration is negative or not a number", e.Service, e.Method)
			}
		}
	}
	return nil
}

func sane(m *pb.Metrics) bool {
	for _, v := range []float64{m.GetMean(), m.GetStdDev(), m.GetUpper95(), m.GetP50(), m.GetP99(), m.GetMax()} {
		if !(v >= 0) || math.IsInf(v, 0) {
			return false
		}
	}
	return m.GetCount() >= 0
}
