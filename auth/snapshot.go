package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/atomicfile"
	"github.com/micro/go-platform/internal/lifecycle"
)

// snapshot keeps the state in a file: a line with the check sum of the rest, and
// what a watcher gets first. No token is in it.
type snapshot struct {
	path     string
	verifier *verifier
	log      *slog.Logger
	dirty    chan struct{}
}

const (
	snapshotMagic = "go-platform auth snapshot 1 "
	maxSnapshot   = 64 << 20
	// saveEvery bounds how often the file is written.
	saveEvery = time.Second
)

func (s *snapshot) mark() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// load reads the file, if there is one. One that is damaged is left alone and
// told of; one that others could have written is an error.
func (s *snapshot) load() error {
	if s.path == "" {
		return nil
	}
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%w: %s must be a file of mode 0600, it has %v", ErrInvalid, s.path, info.Mode())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSnapshot+1))
	if err != nil {
		return err
	}
	if err := s.decode(data); err != nil {
		s.log.Warn("cannot use the snapshot of keys and rules", "path", s.path, "error", err)
	}
	return nil
}

func (s *snapshot) decode(data []byte) error {
	sum, rest, _ := bytes.Cut(data, []byte("\n"))
	if len(data) > maxSnapshot || string(sum) != snapshotMagic+checksum(rest) {
		return errors.New("damaged")
	}
	var first pb.WatchResponse
	if err := proto.Unmarshal(rest, &first); err != nil {
		return err
	}
	return s.verifier.apply(&first)
}

func checksum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// loop writes the file after changes, and a last time when ctx ends.
func (s *snapshot) loop(ctx context.Context) {
	for {
		select {
		case <-s.dirty:
		case <-ctx.Done():
			select {
			case <-s.dirty:
				s.save()
			default:
			}
			return
		}
		s.save()
		lifecycle.Sleep(ctx, saveEvery)
	}
}

func (s *snapshot) save() {
	st := s.verifier.state.Load()
	if st == nil {
		return
	}
	body, err := proto.Marshal(st.export())
	if err == nil {
		err = atomicfile.Write(s.path, append([]byte(snapshotMagic+checksum(body)+"\n"), body...))
	}
	if err != nil {
		s.log.Warn("cannot save the snapshot of keys and rules", "path", s.path, "error", err)
	}
}
