package srv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// marker is a file beside a SQLite database with the last sequence that was
// acknowledged. It is not synced: what it says is exact as long as the machine
// runs, which tells a commit that was not finished when the process was killed
// from one that was damaged later. Both end the write-ahead log alike.
type marker struct {
	file *os.File
	log  string
	boot string
}

// mark is what a marker says.
type mark struct {
	sequence uint64 // 0: it says nothing of this log
	exact    bool   // the machine has run since
}

const markFormat = "%020d %36.36s %36.36s\n"

// openMarker opens the marker of a database file for a log.
func openMarker(database, log string) (*marker, mark, error) {
	f, err := os.OpenFile(database+"-acknowledged", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, mark{}, fmt.Errorf("marker of the log: %w", err)
	}
	m := &marker{file: f, log: log, boot: bootID()}
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return nil, mark{}, errors.Join(fmt.Errorf("marker of the log: %w", err), f.Close())
	}
	var said mark
	var of, boot string
	if n, _ := fmt.Sscanf(string(text), "%d %s %s", &said.sequence, &of, &boot); n < 2 || of != log { // an unreadable one says nothing
		return m, mark{}, nil
	}
	said.exact = boot != "" && boot == m.boot
	return m, said, nil
}

// set notes what is about to be acknowledged.
func (m *marker) set(sequence uint64) error {
	if m == nil {
		return nil
	}
	if _, err := m.file.WriteAt(fmt.Appendf(nil, markFormat, sequence, m.log, m.boot), 0); err != nil {
		return fmt.Errorf("marker of the log: %w", err)
	}
	return nil
}

func (m *marker) close() error {
	if m == nil {
		return nil
	}
	return m.file.Close()
}

// bootID names this run of the machine, or is empty where nobody knows.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
