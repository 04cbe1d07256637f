package stdout_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/logtest"
	"github.com/micro/go-platform/log/stdout"
)

// pipe is a reader of standard output, which breaks off after some bytes when
// told to.
type pipe struct {
	mu   sync.Mutex
	data bytes.Buffer
	cut  int
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.cut; n > 0 && n < len(b) {
		p.cut = 0
		p.data.Write(b[:n])
		return n, errors.New("broken")
	}
	return p.data.Write(b)
}

func (p *pipe) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Split(strings.TrimSuffix(p.data.String(), "\n"), "\n")
}

func (p *pipe) events() []*log.Event {
	var events []*log.Event
	for _, line := range p.lines() {
		e := new(log.Event)
		if json.Unmarshal([]byte(line), e) == nil {
			events = append(events, e)
		}
	}
	return events
}

func quiet() log.OutputOption {
	return log.OutputLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
}

func TestStdout(t *testing.T) {
	logtest.RunOutput(t, func(testing.TB) logtest.Fixture {
		p := &pipe{}
		return logtest.Fixture{Output: stdout.NewOutput(stdout.Writer(p)), Read: p.events}
	})
}

func TestItIsStandardOutput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before := os.Stdout
	os.Stdout = w
	l := log.NewLog(log.WithOutput(stdout.NewOutput()))
	os.Stdout = before
	l.Info("m")
	if err := errors.Join(l.Stop(), w.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil || !json.Valid(data) {
		t.Errorf("%v: %q", err, data)
	}
}

func TestTornWriteIsEndedAndRepeated(t *testing.T) {
	p := &pipe{cut: 100}
	out := stdout.NewOutput(stdout.Writer(p), quiet(), log.OutputInterval(time.Hour))
	for range 10 {
		if err := out.Send(&log.Event{Message: "m", Timestamp: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Flush(), out.Close()); err != nil {
		t.Fatal(err)
	}
	if len(p.events()) != 10 || len(p.lines()) != 11 {
		t.Errorf("%d events in %d lines, want 10 in 11", len(p.events()), len(p.lines()))
	}
}

func TestText(t *testing.T) {
	p := &pipe{}
	out := stdout.NewOutput(stdout.Writer(p), stdout.Text())
	for _, text := range logtest.Nasty {
		if err := out.Send(&log.Event{Level: log.WarnLevel, Message: text, Fields: log.Fields{"k": text, text: "v"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Send(&log.Event{Message: "two words", Fields: log.Fields{"b": "x y", "a": "1"}}); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	lines := p.lines()
	if len(lines) != len(logtest.Nasty)+1 {
		t.Errorf("%d lines of %d events", len(lines), len(logtest.Nasty)+1)
	}
	for _, line := range lines {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' && r < 0xa0 || r == 0x2028 || r == 0x202e }) {
			t.Errorf("unsafe line %q", line)
		}
	}
	if last := lines[len(lines)-1]; !strings.HasSuffix(last, ` debug two words a=1 b="x y"`) {
		t.Errorf("got %q", last)
	}
}
