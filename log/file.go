package log

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
)

// NewOutput returns the default output: a file of one JSON event a line, named
// by OutputName or DefaultOutputName, created with mode 0600, rotated by size or
// age (OutputRotate) into files beside it whose name carries the time, of which
// the newest are kept and gzipped (OutputBackups). It is opened anew when Reopen
// is called on it or, once started, at SIGHUP (OutputReopen).
//
// An event counts as written when the operating system has taken it; the file is
// not synced to the disk. Several outputs, also of several processes, may write one
// file: flock keeps their lines and rotations apart (on systems without flock a file
// belongs to one output). The output notices at the next event that the file was
// moved, removed or truncated by another program. A new file has the mode of the one
// before it. A line that a crash tore is ended when the file is opened again, so
// that the next event has a line of its own.
func NewOutput(opts ...OutputOption) Output {
	o := NewOutputOptions(opts...)
	if o.Name == "" {
		o.Name = DefaultOutputName
	}
	sink := &fileSink{archive: archive{name: o.Name}}
	f := &file{Buffer: NewBuffer(sink, o), sink: sink}
	sink.opts = f.opts // checked
	sink.archive.opts = f.opts
	return f
}

// file is the Buffer before a fileSink, and the signals that reopen it.
type file struct {
	*Buffer
	sink      *fileSink
	listening sync.Once
	signals   lifecycle.Group
}

func (f *file) Start() error {
	if len(f.opts.Reopen) > 0 {
		f.listening.Do(f.listen)
	}
	return f.Buffer.Start()
}

// listen has the signals caught when it returns: one that came sooner would end
// the program.
func (f *file) listen() {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, f.opts.Reopen...)
	err := f.signals.Start(func(ctx context.Context) {
		defer signal.Stop(caught)
		f.obey(ctx, caught)
	})
	if err != nil { // closed before it was started, as Buffer.Start will say
		signal.Stop(caught)
	}
}

func (f *file) obey(ctx context.Context, caught <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-caught:
			if err := f.Reopen(); err != nil {
				f.opts.Logger.Warn("cannot reopen the log", "error", err)
			}
		}
	}
}

// Reopen closes the file and opens the one that has its name now.
func (f *file) Reopen() error {
	return f.exclusive(func() error {
		if f.closed.Load() {
			return errClosed
		}
		return errors.Join(f.sink.shut(), f.sink.Open())
	})
}

func (f *file) Close() error {
	return errors.Join(f.signals.Stop(time.Second), f.Buffer.Close())
}

// fileSink writes lines into a file and rotates it between two of them.
type fileSink struct {
	opts    OutputOptions
	archive archive
	file    *os.File    // nil while closed
	mode    os.FileMode // of the last file
	size    int64       // of the file when it was locked, and what was written since
	first   time.Time   // of the first event in the file
	torn    bool        // the file ends within a line
	retry   time.Time   // no rotation before, after one that failed
	lines   []byte
}

func (s *fileSink) Append(dst []byte, e *Event) []byte { return append(e.AppendJSON(dst), '\n') }

func (s *fileSink) Open() error {
	if s.file != nil {
		return nil
	}
	f, err := os.OpenFile(s.opts.Name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("log: open: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() == 0 && s.mode != 0 && info.Mode().Perm() != s.mode {
		err = f.Chmod(s.mode) // an operator may have opened the file before to a group
	}
	if err != nil {
		return errors.Join(fmt.Errorf("log: open: %w", err), f.Close())
	}
	s.file, s.size = f, info.Size()
	if s.mode == 0 {
		s.mode = info.Mode().Perm()
	}
	s.first, s.torn = time.Now(), false
	if s.size > 0 {
		s.first, s.torn = inspect(f, info)
	}
	s.archive.start()
	return nil
}

// enter opens the file that has the name now and locks it. The caller must call
// unlock or shut.
func (s *fileSink) enter() error {
	for {
		if err := s.Open(); err != nil {
			return err
		}
		if err := lock(s.file); err != nil {
			return errors.Join(fmt.Errorf("log: lock: %w", err), s.shut())
		}
		is, err := s.file.Stat()
		if err != nil {
			return errors.Join(fmt.Errorf("log: look: %w", err), s.shut())
		}
		if named, err := os.Stat(s.opts.Name); err == nil && os.SameFile(is, named) {
			switch {
			case is.Size() == 0 && s.size > 0: // truncated: a new beginning
				s.first, s.torn = time.Now(), false
			case is.Size() != s.size: // others wrote, or were writing when it was opened
				s.torn = torn(s.file, is.Size())
			}
			s.size, s.mode = is.Size(), is.Mode().Perm()
			return nil
		}
		if err := s.shut(); err != nil { // it was moved away: go on in its successor
			return err
		}
	}
}

// inspect looks when the first event of a file was logged, and whether its last
// line is whole. A file that is not ours is as old as its last change.
func inspect(f *os.File, info os.FileInfo) (first time.Time, within bool) {
	within = torn(f, info.Size())
	if at, ok := firstEvent(io.NewSectionReader(f, 0, info.Size())); ok {
		return at, within
	}
	return info.ModTime(), within
}

// torn reports whether a file of some size ends within a line.
func torn(f *os.File, size int64) bool {
	last := make([]byte, 1)
	_, err := f.ReadAt(last, size-1)
	return err == nil && last[0] != '\n'
}

// Write writes as many lines at a time as the file may hold.
func (s *fileSink) Write(_ context.Context, events [][]byte) (int, error) {
	done := 0
	for done < len(events) {
		if err := s.enter(); err != nil {
			return done, err
		}
		if s.due(len(events[done])) {
			if err := s.rotate(); err != nil {
				return done, err
			}
			continue
		}
		n := s.fit(events[done:])
		if err := s.write(); err != nil {
			return done, err
		}
		if err := unlock(s.file); err != nil {
			return done + n, errors.Join(fmt.Errorf("log: unlock: %w", err), s.shut())
		}
		done += n
	}
	return done, nil
}

// due reports whether the file must be rotated before a line of so many bytes.
func (s *fileSink) due(line int) bool {
	if s.size == 0 || time.Now().Before(s.retry) {
		return false
	}
	return s.full(int64(line)) || s.opts.Age > 0 && time.Since(s.first) > s.opts.Age
}

func (s *fileSink) full(more int64) bool { return s.opts.Size > 0 && s.size+more > s.opts.Size }

// fit gathers the lines that fit into the file, one at least.
func (s *fileSink) fit(events [][]byte) int {
	s.lines = s.lines[:0]
	if s.torn {
		s.lines = append(s.lines, '\n')
	}
	held := time.Now().Before(s.retry)
	for n, line := range events {
		if n > 0 && !held && s.full(int64(len(s.lines)+len(line))) {
			return n
		}
		s.lines = append(s.lines, line...)
	}
	return len(events)
}

// write writes the gathered lines, or none of them: what a full disk took of
// them is cut off again.
func (s *fileSink) write() error {
	if s.size == 0 {
		s.first = time.Now()
	}
	n, err := s.file.Write(s.lines)
	if err == nil {
		s.size, s.torn = s.size+int64(n), false
		return nil
	}
	if n > 0 { // should this fail, Open sees the torn line
		err = errors.Join(err, s.cut(int64(n)))
	}
	return errors.Join(fmt.Errorf("log: write: %w", err), s.shut())
}

// cut removes the last n bytes. It asks the file system for the size: another
// program may have truncated the file meanwhile, and truncating it to a remembered
// size would fill it with zeros.
func (s *fileSink) cut(n int64) error {
	info, err := s.file.Stat()
	if err != nil || info.Size() < n {
		return err
	}
	return s.file.Truncate(info.Size() - n)
}

// rotate moves the file away. The lock keeps others from writing or moving it
// meanwhile. When the file cannot be moved the log goes on in it for a minute.
func (s *fileSink) rotate() error {
	if err := s.archive.take(); err != nil {
		s.retry = time.Now().Add(time.Minute)
		s.opts.Logger.Warn("cannot rotate the log", "error", err)
	}
	return s.shut()
}

// shut closes the file, which releases its lock.
func (s *fileSink) shut() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("log: close: %w", err)
	}
	return nil
}

func (s *fileSink) Close() error { return errors.Join(s.shut(), s.archive.stop()) }

func (s *fileSink) String() string { return "file" }

// firstEvent reads the time of the first line.
func firstEvent(r io.Reader) (time.Time, bool) {
	head := make([]byte, 64<<10)
	n, _ := io.ReadFull(r, head) // neither a short file nor a failed read is an error
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	var e Event
	if err := json.Unmarshal(line, &e); err != nil || e.Timestamp <= 0 {
		return time.Time{}, false
	}
	return time.Unix(0, e.Timestamp), true
}
