// Package logtest is the conformance suite of log: Run for plugins,
// RunOutput for outputs.
package logtest

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/log"
)

// Fixture is an output and how the suite sees its far end.
type Fixture struct {
	Output log.Output
	// Read returns the events that have arrived so far, in order.
	Read func() []*log.Event
}

// Nasty are texts that have broken loggers: use them for messages and fields.
var Nasty = []string{
	"", " ", "plain", `"quoted" \ back`, "two\nlines\r\n", "tab\tNUL\x00", "\x1b[31mred\x1b[0m", "\u009b31m",
	"sep\u2028para\u2029", "\u202eevil", "käse 日本 🧀", "\xff\xfebroken\xc3", "%s %d %!", `{"level":"fatal"}`, "a,b=c|d#e@f:g",
}

// Eventually waits until the condition holds, or fails the test.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// RunOutput checks that an output keeps the contract of log.Output. open returns
// a new one, of which nothing is dropped, and is responsible for its far end; the
// output is closed by the suite.
func RunOutput(t *testing.T, open func(t testing.TB) Fixture) {
	RunLossyOutput(t, open)
	run(t, open, map[string]func(*testing.T, Fixture){"many writers, each event once": manyWriters})
}

// RunLossyOutput checks all but that a burst arrives whole: for datagrams, of
// which the network may drop some.
func RunLossyOutput(t *testing.T, open func(t testing.TB) Fixture) {
	run(t, open, map[string]func(*testing.T, Fixture){
		"every text arrives as it was":      everyText,
		"all levels arrive":                 allLevels,
		"the event is not kept":             notKept,
		"after Close":                       afterClose,
		"Close without an event":            func(*testing.T, Fixture) {},
		"Flush returns with nothing to do":  flushEmpty,
		"String tells the kind":             named,
		"Close flushes when it has a Start": closeFlushes,
	})
}

func run(t *testing.T, open func(t testing.TB) Fixture, tests map[string]func(*testing.T, Fixture)) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			far := open(t)
			defer func() {
				if err := far.Output.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			test(t, far)
		})
	}
}

func send(t *testing.T, out log.Output, e *log.Event) {
	t.Helper()
	if err := out.Send(e); err != nil {
		t.Errorf("Send: %v", err)
	}
}

// arrived flushes and waits for n events.
func arrived(t *testing.T, far Fixture, n int) []*log.Event {
	t.Helper()
	if err := far.Output.Flush(); err != nil {
		t.Errorf("Flush: %v", err)
	}
	Eventually(t, fmt.Sprintf("%d events", n), func() bool { return len(far.Read()) >= n })
	events := far.Read()
	if len(events) != n {
		t.Fatalf("%d events arrived, want %d", len(events), n)
	}
	return events
}

// want compares an event with what is to arrive of it: bytes that are not UTF-8
// may have become U+FFFD.
func want(t *testing.T, got, sent *log.Event) {
	t.Helper()
	if got.Level != sent.Level || got.Timestamp != sent.Timestamp || valid(got.Message) != valid(sent.Message) {
		t.Errorf("got %+v, want %+v", got, sent)
	}
	fields := func(f log.Fields) log.Fields {
		clean := log.Fields{}
		for k, v := range f {
			clean[valid(k)] = valid(v)
		}
		return clean
	}
	if !maps.Equal(fields(got.Fields), fields(sent.Fields)) {
		t.Errorf("got fields %q, want %q", got.Fields, sent.Fields)
	}
}

// valid replaces each byte that is not UTF-8: outputs may replace runs of them by
// one mark or by several.
func valid(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	for strings.Contains(s, "\uFFFD\uFFFD") {
		s = strings.ReplaceAll(s, "\uFFFD\uFFFD", "\uFFFD")
	}
	return s
}

func event(level log.Level, message string, fields log.Fields) *log.Event {
	return &log.Event{Level: level, Timestamp: 1_796_000_000_123_456_789, Message: message, Fields: fields}
}

func everyText(t *testing.T, far Fixture) {
	var sent []*log.Event
	for i, text := range Nasty {
		sent = append(sent, event(log.InfoLevel, text, nil),
			event(log.WarnLevel, "m", log.Fields{"k": text, "k" + text: strconv.Itoa(i), "level": "fatal", "message": "forged"}))
	}
	for _, e := range sent {
		send(t, far.Output, e)
	}
	for i, got := range arrived(t, far, len(sent)) {
		want(t, got, sent[i])
	}
}

func allLevels(t *testing.T, far Fixture) {
	for level := log.DebugLevel; level <= log.FatalLevel; level++ {
		send(t, far.Output, event(level, level.String(), nil))
	}
	for i, got := range arrived(t, far, 5) {
		want(t, got, event(log.Level(i), log.Level(i).String(), nil))
	}
}

func notKept(t *testing.T, far Fixture) {
	e := event(log.InfoLevel, "first", log.Fields{"n": "1"})
	send(t, far.Output, e)
	e.Message, e.Fields["n"], e.Level = "changed", "changed", log.ErrorLevel
	want(t, arrived(t, far, 1)[0], event(log.InfoLevel, "first", log.Fields{"n": "1"}))
}

func manyWriters(t *testing.T, far Fixture) {
	const writers, each = 8, 250
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				send(t, far.Output, event(log.InfoLevel, "m", log.Fields{"writer": strconv.Itoa(w), "n": strconv.Itoa(i)}))
			}
		})
	}
	wg.Wait()
	next := map[string]int{}
	for _, e := range arrived(t, far, writers*each) {
		w := e.Fields["writer"]
		if e.Fields["n"] != strconv.Itoa(next[w]) {
			t.Fatalf("writer %s: got event %s, want %d", w, e.Fields["n"], next[w])
		}
		next[w]++
	}
}

func afterClose(t *testing.T, far Fixture) {
	if err := far.Output.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := far.Output.Send(event(log.InfoLevel, "late", nil)); !errors.Is(err, log.ErrStopped) {
		t.Errorf("Send after Close: %v, want ErrStopped", err)
	}
	if d, ok := far.Output.(interface{ Dropped() uint64 }); ok && d.Dropped() != 1 {
		t.Errorf("Dropped %d, want the one sent after Close", d.Dropped())
	}
	begun := time.Now()
	if err := far.Output.Flush(); err != nil && !errors.Is(err, log.ErrStopped) {
		t.Errorf("Flush after Close: %v", err)
	}
	if time.Since(begun) > time.Second {
		t.Error("Flush after Close waits for nothing")
	}
}

func flushEmpty(t *testing.T, far Fixture) {
	if err := far.Output.Flush(); err != nil {
		t.Errorf("Flush: %v", err)
	}
}

func named(t *testing.T, far Fixture) {
	if far.Output.String() == "" {
		t.Error("no name")
	}
}

func closeFlushes(t *testing.T, far Fixture) {
	if s, ok := far.Output.(interface{ Start() error }); ok {
		if err := s.Start(); err != nil {
			t.Errorf("Start: %v", err)
		}
	} else if err := far.Output.Flush(); err != nil {
		t.Errorf("Flush: %v", err)
	}
	for range 100 {
		send(t, far.Output, event(log.InfoLevel, "m", nil))
	}
	if err := far.Output.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	Eventually(t, "what Close flushed", func() bool { return len(far.Read()) == 100 })
}
