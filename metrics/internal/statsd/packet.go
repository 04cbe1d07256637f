package statsd

import "strconv"

// MaxPacket is the largest datagram: what fits an Ethernet frame with room for
// tunnels, as etsy/statsd's documentation advises.
const MaxPacket = 1432

// Packet is one datagram.
type Packet struct {
	Data  []byte
	Lines int // values in it
}

// Builder packs lines into datagrams.
type Builder struct {
	Dialect Dialect

	done    []Packet
	cur     Packet
	last    *Series // of the last line, to which more values may be added
	dropped int
}

// Series is what a line is about.
type Series struct {
	Head, Tail string
	Micros     bool // samples are microseconds
}

// Counter adds a change, which may be negative.
func (b *Builder) Counter(s *Series, delta int64) {
	b.add(s, strconv.FormatInt(delta, 10)+"|c")
}

// Gauge adds a value.
func (b *Builder) Gauge(s *Series, value int64) { b.add(s, b.Dialect.gauge(value)) }

// Samples adds samples that stand for weight each.
func (b *Builder) Samples(s *Series, samples []int64, weight uint64) {
	for _, v := range samples {
		if v < 0 && b.Dialect != Dog {
			b.dropped += int(weight) // Telegraf refuses a signed timing
			continue
		}
		b.add(s, b.Dialect.sample(v, s.Micros, weight))
	}
}

// Packets returns all datagrams, and the number of values that the dialect
// could not carry, and empties the builder.
func (b *Builder) Packets() (packets []Packet, dropped int) {
	b.cut()
	packets, dropped = b.done, b.dropped
	b.done, b.dropped = nil, 0
	return packets, dropped
}

// add writes one value: after the last one of the same series if it fits (both
// etsy's and Telegraf's parsers split a line at each ':'), else on a new line.
func (b *Builder) add(s *Series, value string) {
	joined := b.Dialect != Dog && b.last == s
	need := len(value) + 1
	if !joined {
		need += len(s.Head) + len(s.Tail) + 1
	}
	if len(b.cur.Data)+need > MaxPacket {
		b.cut()
		joined = false
	}
	if !joined {
		if len(b.cur.Data) > 0 {
			b.cur.Data = append(b.cur.Data, '\n')
		}
		b.cur.Data = append(b.cur.Data, s.Head...)
	}
	b.cur.Data = append(b.cur.Data, ':')
	b.cur.Data = append(b.cur.Data, value...)
	b.cur.Data = append(b.cur.Data, s.Tail...)
	b.cur.Lines++
	b.last = s
}

func (b *Builder) cut() {
	if len(b.cur.Data) > 0 {
		b.done = append(b.done, b.cur)
	}
	b.cur, b.last = Packet{}, nil
}
