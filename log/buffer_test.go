package log_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/logtest"
	"github.com/micro/go-platform/log/recorder"
)

// sink is a far end that can be down, take a few of a batch, or hang.
type sink struct {
	mu     sync.Mutex
	events []*log.Event
	down   bool
	few    int           // of each batch before an error
	hang   chan struct{} // writes wait until it is closed
}

func (s *sink) Append(dst []byte, e *log.Event) []byte { return e.AppendJSON(dst) }
func (*sink) Open() error                              { return nil }
func (*sink) Close() error                             { return nil }
func (*sink) String() string                           { return "sink" }

func (s *sink) Write(_ context.Context, events [][]byte) (int, error) {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return 0, errors.New("down")
	}
	for i, data := range events {
		if s.few > 0 && i == s.few {
			return i, errors.New("only a few")
		}
		e := new(log.Event)
		if err := json.Unmarshal(data, e); err != nil {
			return i, err
		}
		s.events = append(s.events, e)
	}
	return len(events), nil
}

func (s *sink) set(change func(*sink)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *sink) read() []*log.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*log.Event(nil), s.events...)
}

func buffer(s *sink, opts ...log.OutputOption) *log.Buffer {
	opts = append([]log.OutputOption{log.OutputLogger(quiet()), log.OutputInterval(5 * time.Millisecond)}, opts...)
	return log.NewBuffer(s, log.NewOutputOptions(opts...))
}

func numbered(i int) *log.Event {
	return &log.Event{Level: log.InfoLevel, Message: strconv.Itoa(i), Timestamp: int64(i)}
}

func TestBuffer(t *testing.T) {
	logtest.RunOutput(t, func(testing.TB) logtest.Fixture {
		s := &sink{}
		return logtest.Fixture{Output: buffer(s), Read: s.read}
	})
}

func TestBufferOverASinkThatTakesAFewAtATime(t *testing.T) {
	s := &sink{few: 3}
	b := buffer(s)
	for i := range 10 {
		if err := b.Send(numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	logtest.Eventually(t, "all", func() bool { return len(s.read()) >= 10 })
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for i, e := range s.read() {
		if e.Message != strconv.Itoa(i) {
			t.Fatalf("event %d is %s: one was lost or doubled", i, e.Message)
		}
	}
}

// told adds the drops that the stream tells of to the events that arrived.
func told(t *testing.T, events []*log.Event) (arrived, dropped int) {
	t.Helper()
	for _, e := range events {
		if e.Message != "log events dropped" {
			arrived++
			continue
		}
		n, err := strconv.Atoi(e.Fields["dropped"])
		if err != nil || e.Level != log.WarnLevel || e.Timestamp == 0 {
			t.Errorf("notice %+v: %v", e, err)
		}
		dropped += n
	}
	return arrived, dropped
}

func TestDropsAreCountedInTheStream(t *testing.T) {
	for name, limit := range map[string]log.OutputOption{
		"events": log.OutputQueueSize(100, 1<<20),
		"bytes":  log.OutputQueueSize(10000, 5000),
	} {
		t.Run(name, func(t *testing.T) {
			s := &sink{down: true}
			var log1 bytes.Buffer
			var mu sync.Mutex
			logger := slog.New(slog.NewTextHandler(lockedWriter{&mu, &log1}, nil))
			b := buffer(s, limit, log.OutputLogger(logger))
			for i := range 1000 {
				if err := b.Send(numbered(i)); err != nil && !errors.Is(err, log.ErrFull) {
					t.Fatal(err)
				}
			}
			if b.Dropped() == 0 {
				t.Fatal("nothing was dropped")
			}
			s.set(func(s *sink) { s.down = false })
			logtest.Eventually(t, "the end of the burst", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return strings.Contains(log1.String(), "no longer dropping")
			})
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			arrived, dropped := told(t, s.read())
			if arrived+dropped != 1000 || dropped != int(b.Dropped()) {
				t.Errorf("%d arrived, stream tells of %d dropped, Dropped of %d", arrived, dropped, b.Dropped())
			}
			if n := strings.Count(log1.String(), "msg=\"dropping"); n != 1 {
				t.Errorf("%d lines begin the burst:\n%s", n, log1.String())
			}
		})
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

func TestBlockLosesNothing(t *testing.T) {
	s := &sink{}
	b := buffer(s, log.OutputPolicy(log.BlockPolicy), log.OutputQueueSize(4, 1<<20))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				if err := b.Send(numbered(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := b.Close(); err != nil || b.Dropped() != 0 || len(s.read()) != 800 {
		t.Errorf("%v, dropped %d, arrived %d", err, b.Dropped(), len(s.read()))
	}
}

func TestCloseFreesThoseWhoWaitForRoom(t *testing.T) {
	s := &sink{down: true}
	b := buffer(s, log.OutputPolicy(log.BlockPolicy), log.OutputQueueSize(1, 1<<20))
	ended := make(chan error)
	go func() {
		for {
			if err := b.Send(numbered(0)); err != nil {
				ended <- err
				return
			}
		}
	}()
	logtest.Eventually(t, "a full buffer", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		return b.SendWait(ctx, numbered(1)) != nil
	})
	if err := b.Close(); err == nil {
		t.Error("Close does not say what it lost")
	}
	if err := <-ended; !errors.Is(err, log.ErrStopped) {
		t.Errorf("the waiting Send got %v", err)
	}
}

func TestSampleKeepsErrors(t *testing.T) {
	s := &sink{down: true}
	b := buffer(s, log.OutputSample(10), log.OutputQueueSize(1000, 1<<20))
	for i := range 3000 {
		e := numbered(i)
		if i%10 == 0 {
			e.Level = log.ErrorLevel
		}
		_ = b.Send(e) // sampled out or not: counted below
	}
	s.set(func(s *sink) { s.down = false })
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	arrived, dropped := told(t, s.read())
	if arrived+dropped != 3000 || dropped == 0 {
		t.Errorf("%d arrived, %d dropped", arrived, dropped)
	}
	failures := 0
	for _, e := range s.read() {
		if e.Level == log.ErrorLevel {
			failures++
		}
	}
	if failures != 300 {
		t.Errorf("%d of 300 errors arrived", failures)
	}
}

func TestHangingSinkCostsNobodyTime(t *testing.T) {
	hung := &sink{hang: make(chan struct{})}
	bad := buffer(hung, log.OutputQueueSize(10, 1<<20))
	good := recorder.NewOutput()
	l := log.NewLog(log.WithOutput(bad), log.WithOutput(good), log.WithLogger(quiet()))
	begun := time.Now()
	for i := range 2000 {
		l.Info(i)
	}
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("2000 events took %v", d)
	}
	if len(good.Events()) != 2000 || bad.Dropped() == 0 {
		t.Errorf("good got %d, bad dropped %d", len(good.Events()), bad.Dropped())
	}
	begun = time.Now()
	if err := l.Stop(); !errors.Is(err, log.ErrLost) || !strings.HasPrefix(err.Error(), "log: output sink: lost ") {
		t.Errorf("Stop: %v", err)
	}
	if d := time.Since(begun); d > 8*time.Second {
		t.Errorf("Stop took %v", d)
	}
	close(hung.hang)
}

func TestFatalWaitsForRoom(t *testing.T) {
	s := &sink{down: true}
	b := buffer(s, log.OutputQueueSize(2, 1<<20))
	exited := false
	l := log.NewLog(log.WithOutput(b), log.WithLogger(quiet()), log.WithExit(func(int) { exited = true }))
	for i := range 5 {
		l.Info(i)
	}
	time.AfterFunc(50*time.Millisecond, func() { s.set(func(s *sink) { s.down = false }) })
	l.Fatal("the end")
	events := s.read()
	if !exited || len(events) == 0 || events[len(events)-1].Message != "the end" {
		t.Errorf("exited %v, %d events", exited, len(events))
	}
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
}

func TestBadOutputOptions(t *testing.T) {
	for option, opt := range map[string]log.OutputOption{
		"OutputPolicy":    log.OutputPolicy(9),
		"OutputSample":    log.OutputSample(0),
		"OutputQueueSize": log.OutputQueueSize(0, 1),
		"OutputInterval":  log.OutputInterval(-1),
		"OutputTimeout":   log.OutputTimeout(0),
		"OutputRotate":    log.OutputRotate(-1, 0),
		"OutputBackups":   log.OutputBackups(-1, false),
	} {
		s := &sink{}
		b := buffer(s, opt)
		if err := b.Start(); !errors.Is(err, log.ErrInvalid) || !strings.Contains(err.Error(), "option "+option) {
			t.Errorf("%s: got %v", option, err)
		}
		if err := errors.Join(b.Send(numbered(1)), b.Close()); err != nil || len(s.read()) != 1 {
			t.Errorf("%s: does not work with a default: %v", option, err)
		}
	}
}

func BenchmarkBuffer(b *testing.B) {
	out := log.NewBuffer(&nowhere{}, log.NewOutputOptions(log.OutputLogger(quiet())))
	l := log.NewLog(log.WithOutput(out)).WithFields(log.Fields{"a": "1", "b": "2", "c": "3"})
	b.ReportAllocs()
	for b.Loop() {
		l.Info("message")
	}
	b.StopTimer()
	if err := out.Close(); err != nil {
		b.Error(err)
	}
}

// nowhere is a sink that is always done.
type nowhere struct{ sink }

func (*nowhere) Write(_ context.Context, events [][]byte) (int, error) { return len(events), nil }
