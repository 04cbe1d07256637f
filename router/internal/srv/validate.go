package srv

import (
	"math"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
	pb "github.com/micro/go-platform/router/proto"
)

// How long names may be, in bytes.
const (
	maxService = 256
	maxVersion = 128
	maxNode    = 512
	maxID      = 64
	maxValue   = 256
)

// What one report may hold.
const (
	maxReport    = 4 << 20 // bytes
	maxStats     = 256
	maxSelected  = 1000
	maxEndpoints = 256
)

// What a caller may claim as its interval.
const (
	minInterval = 100 * time.Millisecond
	maxInterval = time.Hour
)

const (
	maxPriority = 1_000_000
	maxAmount   = 1e9 // of a limit, a count or a duration in milliseconds
)

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkName refuses what does not identify. Spaces at the ends would compare
// equal to none in MySQL.
func checkName(field, name string, limit int) error {
	if !clean.Name(name, limit) || strings.TrimSpace(name) != name {
		return rpcerr.Invalid(field, "not 1 to %d printable characters without spaces around them", limit)
	}
	return nil
}

func checkOptional(field, name string, limit int) error {
	if name == "" {
		return nil
	}
	return checkName(field, name, limit)
}

// keyForm is what can end the name of a header on either stack.
var keyForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// checkSet checks a rule or a label; field is what the request calls it.
func checkSet(field string, s set) error {
	switch {
	case s.weight < 0 || s.weight > 100:
		return rpcerr.Invalid(field+".weight", "%d is not within 0..100", s.weight)
	case s.priority < -maxPriority || s.priority > maxPriority:
		return rpcerr.Invalid(field+".priority", "%d is not within ±%d", s.priority, maxPriority)
	case s.key != "" && !keyForm.MatchString(s.key):
		return rpcerr.Invalid(field+".key", "not 1 to 64 letters, digits and -_., a letter or digit first")
	case s.key == "" && s.kind == labelKind:
		return rpcerr.Invalid(field+".key", "missing")
	case s.key == "" && s.value != "":
		return rpcerr.Invalid(field+".value", "without a key")
	case pb.LabelSet_Fallback_name[int32(s.fallback)] == "":
		return rpcerr.Invalid(field+".fallback", "%d", s.fallback)
	}
	return firstOf(
		checkName(field+".id", s.id, maxID),
		checkName(field+".service", s.service, maxService),
		checkOptional(field+".version", s.version, maxVersion),
		checkOptional(field+".value", s.value, maxValue),
	)
}

func checkLimit(l *pb.LimitSet) error {
	if err := checkName("limit.service", l.GetService(), maxService); err != nil {
		return err
	}
	switch rate, ratio := l.RequestsPerSecond, l.RetryRatio; {
	case !(rate >= 0 && rate <= maxAmount):
		return rpcerr.Invalid("limit.requests_per_second", "%v is not within 0..%g", rate, maxAmount)
	case l.Concurrency < 0 || l.Concurrency > maxAmount:
		return rpcerr.Invalid("limit.concurrency", "%d is not within 0..%g", l.Concurrency, maxAmount)
	case ratio != nil && !(*ratio >= 0 && *ratio <= 1):
		return rpcerr.Invalid("limit.retry_ratio", "%v is not within 0..1", *ratio)
	case rate == 0 && l.Concurrency == 0 && ratio == nil:
		return rpcerr.Invalid("limit.requests_per_second", "neither it nor concurrency nor retry_ratio is set")
	}
	return nil
}

func checkCaller(c *pb.Caller) error {
	return firstOf(
		checkName("caller.service", c.GetService(), maxService),
		checkName("caller.node", c.GetNode(), maxNode),
		checkOptional("caller.zone", c.GetZone(), maxVersion),
	)
}

// checkReport refuses what cannot be.
func checkReport(r *pb.ReportRequest) error {
	if err := firstOf(checkCaller(r.Caller), checkName("incarnation", r.Incarnation, maxID)); err != nil {
		return err
	}
	if r.IntervalMs < minInterval.Milliseconds() || r.IntervalMs > maxInterval.Milliseconds() {
		return rpcerr.Invalid("interval_ms", "%d is not within 100 ms and 1 h", r.IntervalMs)
	}
	if len(r.Stats) > maxStats {
		return rpcerr.Invalid("stats", "%d, more than %d", len(r.Stats), maxStats)
	}
	seen := make(map[string]bool, len(r.Stats))
	for _, s := range r.Stats {
		if err := checkStats(s); err != nil {
			return err
		}
		if seen[s.Service.Name] {
			return rpcerr.Invalid("stats.service", "%q twice", s.Service.Name)
		}
		seen[s.Service.Name] = true
	}
	return nil
}

func checkStats(s *pb.Stats) error {
	if err := checkName("stats.service.name", s.GetService().GetName(), maxService); err != nil {
		return err
	}
	hour := maxInterval.Milliseconds()
	switch {
	case s.Duration < 0 || s.Duration > hour/1000 || s.DurationMs < 0 || s.DurationMs > hour:
		return rpcerr.Invalid("stats.duration", "%d s, %d ms are not within 0 and 1 h", s.Duration, s.DurationMs)
	case s.Limited < 0 || s.Limited > maxAmount:
		return rpcerr.Invalid("stats.limited", "%d is not within 0..%g", s.Limited, maxAmount)
	case len(s.Selected) > maxSelected:
		return rpcerr.Invalid("stats.selected", "%d, more than %d", len(s.Selected), maxSelected)
	case len(s.EndpointStats) > maxEndpoints:
		return rpcerr.Invalid("stats.endpoint_stats", "%d, more than %d", len(s.EndpointStats), maxEndpoints)
	}
	for _, n := range s.Selected {
		if err := firstOf(checkName("stats.selected.node.id", n.GetNode().GetId(), maxNode),
			checkMetrics("stats.selected", n.GetSuccess(), n.GetDropped(), n.GetErrors())); err != nil {
			return err
		}
		if n.Consecutive < 0 {
			return rpcerr.Invalid("stats.selected.consecutive", "%d is negative", n.Consecutive)
		}
	}
	for _, e := range s.EndpointStats {
		if err := firstOf(checkName("stats.endpoint_stats.name", e.GetName(), maxService),
			checkMetrics("stats.endpoint_stats", e.GetSuccess(), e.GetDropped(), e.GetErrors())); err != nil {
			return err
		}
	}
	return nil
}

func checkMetrics(field string, all ...*pb.Metrics) error {
	for _, m := range all {
		if m.GetCount() < 0 || m.GetCount() > maxAmount {
			return rpcerr.Invalid(field, "a count is not within 0..%g", maxAmount)
		}
		for _, v := range []float64{m.GetMean(), m.GetStdDev(), m.GetMax()} {
			if !(v >= 0 && v <= maxAmount) || math.IsNaN(v) {
				return rpcerr.Invalid(field, "a duration is not within 0..%g ms", maxAmount)
			}
		}
		if len(m.GetBuckets()) > maxBuckets {
			return rpcerr.Invalid(field, "%d buckets, more than %d", len(m.Buckets), maxBuckets)
		}
	}
	return nil
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
