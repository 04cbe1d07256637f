package log_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/go-platform/log"
	"github.com/micro/go-platform/log/logtest"
)

func file(path string, opts ...log.OutputOption) log.Output {
	opts = append([]log.OutputOption{
		log.OutputName(path), log.OutputLogger(quiet()), log.OutputInterval(5 * time.Millisecond), log.OutputReopen(),
	}, opts...)
	return log.NewOutput(opts...)
}

// readFile returns the events of a log file, gzipped or not.
func readFile(t testing.TB, path string) []*log.Event {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	var events []*log.Event
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := new(log.Event)
		if err := json.Unmarshal(lines.Bytes(), e); err != nil {
			t.Fatalf("%s: %v in %q", path, err, lines.Bytes())
		}
		events = append(events, e)
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return events
}

func TestFile(t *testing.T) {
	logtest.RunOutput(t, func(t testing.TB) logtest.Fixture {
		path := filepath.Join(t.TempDir(), "app.log")
		return logtest.Fixture{Output: file(path), Read: func() []*log.Event { return readFile(t, path) }}
	})
}

func TestRotationLosesAndDoublesNothing(t *testing.T) {
	const writers, each, size = 8, 2500, 32 << 10
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	out := file(path, log.OutputRotate(size, 0), log.OutputBackups(0, true), log.OutputPolicy(log.BlockPolicy))
	l := log.NewLog(log.WithOutput(out))
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			by := l.WithFields(log.Fields{"writer": strconv.Itoa(w)})
			for i := range each {
				by.Info(strconv.Itoa(i))
			}
		})
	}
	wg.Wait()
	logtest.Eventually(t, "gzip to be done", func() bool {
		zipped, _ := filepath.Glob(path[:len(path)-4] + "-*.log.gz") // the pattern is a good one
		plain, _ := filepath.Glob(path[:len(path)-4] + "-*.log")     // the pattern is a good one
		return len(plain) == 0 && len(zipped) > 20
	})
	if err := l.Stop(); err != nil || l.Dropped() != 0 {
		t.Fatalf("%v, dropped %d", err, l.Dropped())
	}
	next := map[string]int{}
	for _, path := range rotated(t, dir, size) {
		for _, e := range readFile(t, path) {
			w := e.Fields["writer"]
			if e.Message != strconv.Itoa(next[w]) {
				t.Fatalf("%s: writer %s logged %s, want %d", path, w, e.Message, next[w])
			}
			next[w]++
		}
	}
	for w, n := range next {
		if n != each {
			t.Errorf("writer %s: %d lines, want %d", w, n, each)
		}
	}
	if len(next) != writers {
		t.Errorf("%d writers", len(next))
	}
}

// rotated returns all files of a log, oldest first, none larger than size.
func rotated(t *testing.T, dir string, size int64) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.Size() > size {
			t.Errorf("%s: %d bytes, %v", entry.Name(), info.Size(), err)
		}
		paths = append(paths, filepath.Join(dir, entry.Name()))
	}
	slices.SortFunc(paths, func(a, b string) int { // app-<time>.log before app.log
		return strings.Compare(strings.Replace(a, "app.", "app~", 1), strings.Replace(b, "app.", "app~", 1))
	})
	return paths
}

func TestBackupsAreBoundedAndForeignFilesStay(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	for _, name := range []string{"app-notes.log", "app-20260102.log.gz", "other-20260102T030405.000000000.log", "app-20260102T030405.000000000.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := file(path, log.OutputRotate(500, 0), log.OutputBackups(3, true))
	for i := range 200 {
		if err := out.Send(numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	logtest.Eventually(t, "three backups", func() bool {
		all, err := os.ReadDir(dir)
		return err == nil && len(all) == 4+1+3
	})
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	events := readFile(t, path)
	if events[len(events)-1].Message != "199" {
		t.Error("the newest event is not in the file")
	}
}

func TestRotationByAge(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	old := &log.Event{Message: "old", Timestamp: time.Now().Add(-2 * time.Hour).UnixNano()}
	if err := os.WriteFile(path, append(old.AppendJSON(nil), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{"new", "same file"} {
		out := file(path, log.OutputRotate(0, time.Hour), log.OutputBackups(0, false))
		if err := errors.Join(out.Send(&log.Event{Message: message, Timestamp: time.Now().UnixNano()}), out.Close()); err != nil {
			t.Fatal(err)
		}
	}
	files := rotated(t, dir, 1<<20)
	if len(files) != 2 || readFile(t, files[0])[0].Message != "old" || len(readFile(t, files[1])) != 2 {
		t.Errorf("got %q", files)
	}
}

func TestTornLineIsEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(path, []byte(`{"level":"info","mess`), 0o600); err != nil {
		t.Fatal(err)
	}
	out := file(path)
	if err := errors.Join(out.Send(numbered(1)), out.Send(numbered(2)), out.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	lines := strings.Split(string(data), "\n")
	if err != nil || len(lines) != 4 || !json.Valid([]byte(lines[1])) || !json.Valid([]byte(lines[2])) {
		t.Errorf("%v: %q", err, lines)
	}
}

func TestFileThatCannotBeOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "app.log")
	out := file(path)
	if err := out.(interface{ Start() error }).Start(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Start: %v", err)
	}
	if err := out.Send(numbered(1)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(out.Flush(), out.Close()); err != nil {
		t.Error(err)
	}
	if len(readFile(t, path)) != 1 {
		t.Error("the event did not wait for the folder")
	}
}

func TestRotationThatFailsGoesOnInTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("n", 240)) // with a time it is too long a name
	out := file(path, log.OutputRotate(300, 0))
	for i := range 50 {
		if err := out.Send(numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	if n := len(readFile(t, path)); n != 50 {
		t.Errorf("%d events, want 50", n)
	}
}

// Another program writes between our opening the file and our writing: it ends the
// line that we saw torn, or leaves one.
func TestLinesOfAnotherProgram(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{`{"message":`, `"theirs"}` + "\n", `{"message":"theirs"}` + "\n" + `{"level"`},
		{`{"message":"theirs"}` + "\n", `{"mess`, `{"message":"theirs"}` + "\n" + `{"mess` + "\n" + `{"level"`},
	} {
		path := filepath.Join(t.TempDir(), "app.log")
		theirs, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		write := func(text string) {
			if _, err := theirs.WriteString(text); err != nil {
				t.Fatal(err)
			}
		}
		write(c.before)
		out := file(path)
		l := log.NewLog(log.WithOutput(out))
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		write(c.after)
		l.Info("ours")
		if err := errors.Join(l.Stop(), theirs.Close()); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(data), c.want) {
			t.Errorf("%v, %q", err, data)
		}
	}
}

// TestTwoLogsOnOneFile is two programs in one folder with the defaults.
func TestTwoLogsOnOneFile(t *testing.T) {
	const writers, each = 3, 4000
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	var logs sync.WaitGroup
	for w := range writers {
		logs.Go(func() {
			out := file(path, log.OutputRotate(64<<10, 0), log.OutputBackups(0, true), log.OutputPolicy(log.BlockPolicy))
			for i := range each {
				if err := out.Send(&log.Event{Message: strconv.Itoa(i), Fields: log.Fields{"writer": strconv.Itoa(w)}}); err != nil {
					t.Error(err)
				}
			}
			if err := out.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	logs.Wait()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".tmp") || !strings.HasSuffix(entry.Name(), ".gz") && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == entry.Name()+".gz" }) {
			continue // a compression was interrupted, and the next start goes on with it
		}
		for _, e := range readFile(t, filepath.Join(dir, entry.Name())) {
			seen[e.Fields["writer"]+" "+e.Message]++
		}
	}
	if len(seen) != writers*each {
		t.Errorf("%d of %d lines are there", len(seen), writers*each)
	}
	for line, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", line, n)
		}
	}
	if len(entries) < 5 {
		t.Errorf("%d files: nothing was rotated", len(entries))
	}
}

// TestWhatOthersDoToTheFile: the output notices it at the next event.
func TestWhatOthersDoToTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	out := file(path)
	n := 0
	write := func() {
		t.Helper()
		n++
		if err := errors.Join(out.Send(numbered(n)), out.Flush()); err != nil {
			t.Fatal(err)
		}
		events := readFile(t, path)
		if len(events) == 0 || events[len(events)-1].Message != strconv.Itoa(n) {
			t.Fatalf("event %d is not in the file, but %v", n, events)
		}
	}
	write()
	for what, do := range map[string]func() error{
		"moved":   func() error { return os.Rename(path, path+".moved") },
		"removed": func() error { return os.Remove(path) },
		"cut":     func() error { return os.Truncate(path, 0) },
	} {
		if err := do(); err != nil {
			t.Fatal(what, err)
		}
		write()
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
}
