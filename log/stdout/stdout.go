// Package stdout is the output to standard output: one JSON event a line, or
// text for people.
package stdout

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/plugin"
)

type writerKey struct{}

type textKey struct{}

// Writer sets where lines are written; the default is standard output. The output
// does not close it.
func Writer(w io.Writer) log.OutputOption {
	return func(o *log.OutputOptions) { o.Context = context.WithValue(o.Context, writerKey{}, w) }
}

// Text makes lines for people instead of JSON: time, level, message and fields, all
// escaped as JSON strings where that makes a difference.
func Text() log.OutputOption {
	return func(o *log.OutputOptions) { o.Context = context.WithValue(o.Context, textKey{}, true) }
}

// NewOutput returns the output. A reader of the pipe that hangs costs events, by
// the policy of log.OutputPolicy, and never the program's time; a write that
// hangs when the output is closed is given up. A reader that dies costs events, too.
// Once the output was opened a SIGPIPE does not end the process, whoever writes; the
// programs that it starts do not inherit that.
func NewOutput(opts ...log.OutputOption) log.Output {
	o := log.NewOutputOptions(opts...)
	s := &sink{out: os.Stdout}
	if w, ok := o.Context.Value(writerKey{}).(io.Writer); ok {
		s.out = w
	}
	s.text = o.Context.Value(textKey{}) != nil
	return log.NewBuffer(s, o)
}

type sink struct {
	out  io.Writer
	pipe chan os.Signal // takes SIGPIPE, unread; nil until it was opened
	text bool
	torn bool // the last write ended within a line
	data []byte
}

func (s *sink) Append(dst []byte, e *log.Event) []byte {
	if s.text {
		dst = appendText(dst, e)
	} else {
		dst = e.AppendJSON(dst)
	}
	return append(dst, '\n')
}

// Open makes the process catch SIGPIPE, for good: a write that hangs may end after
// Close. When the reader of the pipe dies Write then returns an error, and the events
// are counted. A signal that is ignored would stay so in programs that the process
// starts.
func (s *sink) Open() error {
	if s.pipe == nil && (s.out == os.Stdout || s.out == os.Stderr) {
		s.pipe = make(chan os.Signal, 1)
		signal.Notify(s.pipe, syscall.SIGPIPE)
	}
	return nil
}

// Write writes all lines at once. Of a write that failed half way the whole
// lines count; the torn one is ended and comes again.
func (s *sink) Write(_ context.Context, events [][]byte) (int, error) {
	_ = s.Open() // which never fails: the buffer may have begun with Send
	s.data = s.data[:0]
	if s.torn {
		s.data = append(s.data, '\n')
	}
	start := len(s.data)
	for _, line := range events {
		s.data = append(s.data, line...)
	}
	n, err := s.out.Write(s.data)
	if err == nil {
		s.torn = false
		return len(events), nil
	}
	if n > 0 {
		s.torn = s.data[n-1] != '\n'
	}
	whole := s.data[min(start, n):n]
	return bytes.Count(whole, []byte{'\n'}), fmt.Errorf("log: write to standard output: %w", err)
}

func (*sink) Close() error   { return nil }
func (*sink) String() string { return "stdout" }

// appendText appends "15:04:05.000 WARN  message key=value".
func appendText(dst []byte, e *log.Event) []byte {
	dst = time.Unix(0, e.Timestamp).AppendFormat(dst, "15:04:05.000 ")
	dst = fmt.Appendf(dst, "%-5s ", e.Level)
	dst = appendWord(dst, e.Message, false)
	keys := make([]string, 0, len(e.Fields))
	for k := range e.Fields {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		dst = append(dst, ' ')
		dst = appendWord(dst, k, true)
		dst = append(dst, '=')
		dst = appendWord(dst, e.Fields[k], true)
	}
	return dst
}

// appendWord quotes s unless it is plain. A message may hold spaces and signs,
// but none by which it could be taken for fields.
func appendWord(dst []byte, s string, field bool) []byte {
	for _, c := range s {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '=' || field && c == ' ' {
			return plugin.AppendQuoted(dst, s)
		}
	}
	if s == "" {
		return plugin.AppendQuoted(dst, s)
	}
	return append(dst, s...)
}
