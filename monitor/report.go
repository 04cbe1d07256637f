package monitor

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/clean"
	pb "github.com/micro/go-platform/monitor/proto"
)

// missed is how many reports may be missed before a service is UNKNOWN.
const missed = 3

// seconds rounds up: fields that came from the first version of the wire are in
// seconds, and 0 would mean none.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// wireService is the service with the one node the monitor speaks for.
func wireService(o server.Options) *pb.Service {
	address := o.Advertise
	if address == "" {
		address = o.Address
	}
	node := &pb.Node{Id: clean.UTF8(o.Name + "-" + o.Id), Address: clean.Text(address, 256), Metadata: clean.Map(o.Metadata)}
	if host, port, err := net.SplitHostPort(address); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			node.Address, node.Port = clean.Text(host, 256), int64(n)
		}
	}
	return &pb.Service{Name: clean.UTF8(o.Name), Version: clean.Text(o.Version, 128), Nodes: []*pb.Node{node}}
}

func (m *platform) service() *pb.Service { return wireService(m.opts.Server.Options()) }

func (m *platform) wireStatus(s Status, at time.Time, seq uint64) *pb.Status {
	details := m.details()
	return &pb.Status{
		Service: m.service(), Status: pb.Status_Status(s), Info: summary(details), Details: details, Timestamp: at.Unix(),
		Interval: seconds(m.opts.Interval), Ttl: seconds(missed * m.opts.Interval), Seq: seq,
	}
}

// details returns how much the plugins of the process dropped so far.
func (m *platform) details() map[string]string {
	info := make(map[string]string, len(m.opts.Losses)+1)
	for _, l := range m.opts.Losses {
		info["dropped."+l.Name] = strconv.FormatUint(l.dropped(), 10)
	}
	info["dropped.monitor"] = strconv.FormatUint(m.Dropped(), 10)
	return info
}

// summary returns details as one text.
func summary(details map[string]string) string {
	parts := make([]string, 0, len(details))
	for _, k := range slices.Sorted(maps.Keys(details)) {
		parts = append(parts, k+"="+details[k])
	}
	return strings.Join(parts, ", ")
}

// dropped returns the count of the Dropper, which is a user's code: 0 when it
// panics.
func (l Loss) dropped() (n uint64) {
	defer func() {
		if p := recover(); p != nil {
			n = 0
		}
	}()
	return l.Dropper.Dropped()
}

// window ends the present window of stats.
func (m *platform) window() *pb.Stats {
	s := &pb.Stats{
		Service: m.service(), Timestamp: time.Now().Unix(),
		Interval: seconds(m.opts.Interval), Ttl: seconds(missed * m.opts.Interval),
		Runtime: goRuntime(),
	}
	s.Cpu, s.Memory, s.Disk = usage()
	var length time.Duration
	s.Endpoints, length = m.collector.collect(s.Service.Name)
	s.WindowMs = length.Milliseconds()
	m.statsSeq++
	s.Seq = m.statsSeq
	return s
}

// report is the state now and the events that led to it.
func (m *platform) report(seq uint64, events []event) *pb.ReportRequest {
	h := m.Health()
	m.mu.Lock()
	at, statusSeq := m.changedAt, m.statusSeq
	m.mu.Unlock()
	r := &pb.ReportRequest{
		Service: m.service(), Incarnation: m.incarnation, Seq: seq,
		IntervalMs: m.opts.Interval.Milliseconds(),
		Current:    m.wireStatus(h.Status, at, statusSeq),
		NotReady:   h.NotReady,
	}
	for _, c := range h.Checks {
		r.Checks = append(r.Checks, wireCheck(c))
	}
	for _, e := range events {
		if e.status != nil {
			r.Statuses = append(r.Statuses, e.status)
		}
		if e.stats != nil {
			r.Stats = append(r.Stats, e.stats)
		}
	}
	return r
}

// wireCheck leaves the service out: the report has it.
func wireCheck(c CheckState) *pb.HealthCheck {
	w := &pb.HealthCheck{
		Id: c.Id, Description: c.Description, Interval: seconds(c.Every), Ttl: seconds(missed * c.Every),
		Status: pb.HealthCheck_Status(c.Status), Results: c.Results, Error: c.Error,
		Kind: pb.HealthCheck_Kind(c.Kind), Critical: c.Critical,
	}
	if !c.Time.IsZero() {
		w.Timestamp = c.Time.Unix()
	}
	return w
}
