package statsd

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/loss"
)

// Config says what a Client sends, where and when.
type Config struct {
	Collectors []string // host:port
	Interval   time.Duration
	Logger     *slog.Logger
	// Collect is called at each interval, and a last time at Stop. It returns
	// what to send, and how many values cannot be sent.
	Collect func(last bool) (packets []Packet, dropped int)
	// Report is called at each interval, to log what else was lost.
	Report func(*slog.Logger)
	// Resolve is how long an address is kept before it is looked up again,
	// default 30 s.
	Resolve time.Duration
	// Dial replaces net.Dialer in tests.
	Dial dialFunc
}

// Client sends what it collects to all collectors. The zero value is not
// usable.
type Client struct {
	conf  Config
	group lifecycle.Group
	lost  loss.Counter
}

// New returns a client that does nothing until Start.
func New(conf Config) *Client {
	if conf.Resolve <= 0 {
		conf.Resolve = 30 * time.Second
	}
	if conf.Dial == nil {
		conf.Dial = dialUDP
	}
	return &Client{conf: conf}
}

// Start begins to collect and send. It is idempotent; after Stop it returns
// lifecycle.ErrStopped.
func (c *Client) Start() error {
	loops := make([]func(context.Context), 0, 1+len(c.conf.Collectors))
	queues := make([]chan []Packet, len(c.conf.Collectors))
	for i, addr := range c.conf.Collectors {
		queues[i] = make(chan []Packet, 1)
		s := &sender{client: c, addr: addr, queue: queues[i]}
		loops = append(loops, s.run)
	}
	loops = append(loops, func(ctx context.Context) { c.run(ctx, queues) })
	return c.group.Start(loops...)
}

// Dropped returns how many values were not sent, once per collector that
// misses them. What a network loses nobody counts.
func (c *Client) Dropped() uint64 { return c.lost.Total() }

// Stop collects and sends a last time, within lifecycle.FlushTimeout, and
// returns a lifecycle.ErrLost that counts the values that were lost. It must be
// called once, after Start.
func (c *Client) Stop() error {
	before := c.lost.Total()
	err := c.group.Stop(lifecycle.FlushTimeout + 250*time.Millisecond)
	if n := c.lost.Total() - before; n > 0 {
		return lifecycle.Lost("metrics", int(n), "value", "a collector cannot be reached, or a value cannot be sent")
	}
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// run collects at each interval and hands on; a collector that is still busy
// with the last batch misses this one.
func (c *Client) run(ctx context.Context, queues []chan []Packet) {
	ticker := time.NewTicker(c.conf.Interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ticker.C:
			c.offer(queues, c.collect(false))
			c.lost.Report(c.conf.Logger, "metrics", "a collector cannot be reached, or a value cannot be sent")
			c.conf.Report(c.conf.Logger)
		case <-ctx.Done():
		}
	}
	c.finish(queues, c.collect(true))
}

func (c *Client) collect(last bool) []Packet {
	packets, dropped := c.conf.Collect(last)
	c.lost.Add(dropped)
	return packets
}

func (c *Client) offer(queues []chan []Packet, batch []Packet) {
	if len(batch) == 0 {
		return
	}
	for _, queue := range queues {
		select {
		case queue <- batch:
		default:
			c.lost.Add(lines(batch))
		}
	}
}

// finish hands the last batch to the senders, waiting for those that are busy
// as long as they may be, and ends them.
func (c *Client) finish(queues []chan []Packet, batch []Packet) {
	ctx, cancel := context.WithTimeout(context.Background(), lifecycle.FlushTimeout)
	defer cancel()
	for _, queue := range queues {
		select {
		case queue <- batch:
		case <-ctx.Done():
			c.lost.Add(lines(batch))
		}
		close(queue)
	}
}

func lines(batch []Packet) int {
	n := 0
	for _, p := range batch {
		n += p.Lines
	}
	return n
}
