package recorder

import (
	"maps"
	"slices"
	"time"

	"github.com/micro/go-platform/monitor"
	pb "github.com/micro/go-platform/monitor/proto"
)

// Report is what a monitor reported at one moment.
type Report struct {
	Service string
	Node    string         // id at the registry
	Status  monitor.Status // now
	// Statuses are the transitions since the report before, in order.
	Statuses []monitor.Status
	// NotReady says why the node should get no calls; it is empty while it
	// should.
	NotReady []string
	// Checks have the Time and Every of the wire, which are whole seconds.
	Checks []monitor.CheckState
	// Info is what the plugins of the process dropped, by "dropped.NAME".
	Info map[string]string
	// Endpoints are those that were measured in the windows that ended since the
	// report before.
	Endpoints []Endpoint
}

// Endpoint is the calls of one method, or the messages of one topic, in one
// window.
type Endpoint struct {
	Side    Side
	Service string // that was called; empty for a topic
	Method  string // or topic
	Success Calls
	Errors  Calls
	Dropped Calls // ran into their deadline (408)
}

// Side is how the node takes part in the calls of an Endpoint.
type Side int32

// The sides. Unknown is for requests that are neither a client's nor a server's.
const (
	Unknown    Side = 0
	Client     Side = 1 // calls the service
	Server     Side = 2 // is called
	Publisher  Side = 3
	Subscriber Side = 4
)

// String returns "unknown", "client", "server", "publisher" or "subscriber".
func (s Side) String() string {
	names := [...]string{"unknown", "client", "server", "publisher", "subscriber"}
	if s < 0 || int(s) >= len(names) {
		return names[0]
	}
	return names[s]
}

// Calls is how long the calls of one outcome took; Count is 0 when there were
// none.
type Calls struct {
	Count                            int64
	Mean, StdDev, P50, P95, P99, Max time.Duration
}

// newReport copies what it keeps.
func newReport(r *pb.ReportRequest) Report {
	report := Report{
		Service: r.Service.GetName(), Status: monitor.Status(r.Current.GetStatus()),
		NotReady: slices.Clone(r.NotReady), Info: maps.Clone(r.Current.GetDetails()),
	}
	for _, n := range r.Service.GetNodes() {
		report.Node = n.Id
	}
	for _, s := range r.Statuses {
		report.Statuses = append(report.Statuses, monitor.Status(s.Status))
	}
	for _, c := range r.Checks {
		report.Checks = append(report.Checks, newCheck(c))
	}
	for _, s := range r.Stats {
		for _, e := range s.Endpoints {
			report.Endpoints = append(report.Endpoints, Endpoint{
				Side: Side(e.Side), Service: e.Service, Method: e.Method,
				Success: newCalls(e.Success), Errors: newCalls(e.Errors), Dropped: newCalls(e.Dropped),
			})
		}
	}
	return report
}

func newCheck(c *pb.HealthCheck) monitor.CheckState {
	s := monitor.CheckState{
		Id: c.Id, Description: c.Description, Kind: monitor.Kind(c.Kind), Critical: c.Critical,
		Status: monitor.CheckStatus(c.Status), Results: maps.Clone(c.Results), Error: c.Error,
		Every: time.Duration(c.Interval) * time.Second,
	}
	if c.Timestamp != 0 {
		s.Time = time.Unix(c.Timestamp, 0)
	}
	return s
}

func newCalls(m *pb.Metrics) Calls {
	ms := func(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
	return Calls{
		Count: m.GetCount(), Mean: ms(m.GetMean()), StdDev: ms(m.GetStdDev()), P50: ms(m.GetP50()),
		P95: ms(m.GetUpper95()), P99: ms(m.GetP99()), Max: ms(m.GetMax()),
	}
}
