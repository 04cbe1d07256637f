// Package metrics counts, gauges and measures. The default plugin aggregates in
// the process and sends to Telegraf's statsd input with InfluxDB tags; further
// plugins speak plain statsd and dogstatsd, serve Prometheus, push OTLP, record
// for tests or discard.
//
//	m := metrics.NewMetrics(metrics.Namespace("shop"))
//	m.Start()
//	defer m.Stop()
//	orders := m.Counter("orders").WithFields(metrics.Fields{"kind": "gift"})
//	orders.Incr(1)
package metrics

// Fields are tags: they tell the series of one metric apart. A field with an
// empty name or value is left out.
type Fields map[string]string

// Metrics hands out metrics and sends them somewhere.
//
// All methods, and those of the metrics it hands out, are safe for concurrent
// use. All but Stop never block, whether the plugin was started, is stopped or
// cannot reach a collector. The first update starts the plugin, as Start does;
// Counter, Gauge, Histogram and WithFields do not. Updates after Stop are dropped
// and counted in Dropped.
//
// The same id and fields are the same series; a metric may be held for the life of
// the process, which is the cheapest way to use it. The same id used for two kinds
// is two metrics.
//
// Characters of ids and fields that would break the wire are replaced, and
// over-long ones are cut: see the plugin. Each id has room for MaxSeries sets
// of fields; what comes later is collected in one more series of the id whose
// only field is "overflow=true", so that sums stay right and memory bounded.
type Metrics interface {
	// Init applies further options. It returns an ErrInvalid that names a bad
	// option, ErrStarted once the plugin was started, and ErrStopped after Stop.
	// With an error it changes nothing.
	Init(...Option) error
	// Counter returns the counter with this id.
	Counter(id string) Counter
	// Gauge returns the gauge with this id.
	Gauge(id string) Gauge
	// Histogram returns the histogram with this id.
	Histogram(id string) Histogram
	// Dropped returns how many values were lost since the start.
	Dropped() uint64
	// Start begins to send. It is idempotent. It returns an ErrInvalid that names
	// an option with a bad value, and ErrStopped after Stop. Until a Start succeeds
	// updates are kept.
	Start() error
	// Stop flushes within two seconds. It returns an ErrLost that counts what did
	// not arrive. It is idempotent and may come before Start.
	Stop() error
	// String returns the name of the plugin.
	String() string
}

// Counter is a sum that goes up and down. It holds an int64: a larger step
// counts as the largest int64.
type Counter interface {
	// Incr adds.
	Incr(uint64)
	// Decr subtracts: what is sent is a negative number.
	Decr(uint64)
	// Reset begins a new count. What was not sent yet is forgotten; what was
	// sent is not taken back. Plugins that publish totals publish 0.
	Reset()
	// WithFields returns the counter with these fields too; the receiver is
	// unchanged. Of two values for one field the later wins.
	WithFields(Fields) Counter
}

// Gauge is a value that stands until it is set again.
type Gauge interface {
	// Set replaces the value, which is sent at every interval from now on.
	Set(int64)
	// Reset forgets the value: statsd plugins send 0 once, others leave the
	// gauge out, until the next Set.
	Reset()
	// WithFields is that of Counter.
	WithFields(Fields) Gauge
}

// Histogram is a distribution of samples. Their unit is the caller's, unless the id
// ends in "_us": then they are microseconds, as those of the wrappers of this
// package. Each plugin sends them in the unit that its receivers expect, under the
// name without "_us": milliseconds for statsd, seconds for Prometheus and OTLP.
type Histogram interface {
	// Record adds a sample. The statsd plugins cannot send a negative one:
	// they drop and count it.
	Record(int64)
	// Reset forgets the samples that were not sent yet; plugins that publish
	// totals begin again from none.
	Reset()
	// WithFields is that of Counter.
	WithFields(Fields) Histogram
}
