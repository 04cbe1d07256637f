package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
)

// collector stands where Telegraf would: it takes the metrics of all services
// off a UDP socket and adds the counters up.
type collector struct {
	conn net.PacketConn
	done chan struct{}

	mu       sync.Mutex
	counters map[string]int64 // by series: "shop.server.calls,service=...,status=..."
	packets  int
}

func (c *collector) listen() error {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("collect metrics: %w", err)
	}
	c.conn, c.done, c.counters = conn, make(chan struct{}), make(map[string]int64)
	go c.read()
	return nil
}

func (c *collector) address() string { return c.conn.LocalAddr().String() }

func (c *collector) read() {
	defer close(c.done)
	packet := make([]byte, 64<<10)
	for {
		n, _, err := c.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		c.mu.Lock()
		c.packets++
		for line := range strings.Lines(string(packet[:n])) {
			c.add(strings.TrimSpace(line))
		}
		c.mu.Unlock()
	}
}

// add takes "series:number|c"; what is no counter is of no use here.
func (c *collector) add(line string) {
	series, value, ok := strings.Cut(line, ":")
	if !ok || !strings.HasSuffix(value, "|c") {
		return
	}
	if n, err := strconv.ParseInt(strings.TrimSuffix(value, "|c"), 10, 64); err == nil {
		c.counters[series] += n
	}
}

// sum adds up the series of a metric that carry all the tags.
func (c *collector) sum(metric string, tags ...string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var total int64
series:
	for series, n := range c.counters {
		id, rest, _ := strings.Cut(series, ",")
		if id != metric {
			continue
		}
		for _, tag := range tags {
			if !strings.Contains(","+rest+",", ","+tag+",") {
				continue series
			}
		}
		total += n
	}
	return total
}

func (c *collector) close() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	<-c.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
