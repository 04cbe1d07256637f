//go:build unix

package file_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/source/file"
)

func TestAttacks(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret.json"), []byte(`{"secret":1}`))
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, in("ok.json"), []byte(`{}`))
	must(t, os.Symlink(filepath.Join(outside, "secret.json"), in("absolute.json")))
	must(t, os.Symlink("../"+filepath.Base(outside)+"/secret.json", in("relative.json")))
	must(t, os.Symlink(outside, in("folder")))
	must(t, os.Symlink("loop.json", in("loop.json")))
	must(t, os.Symlink("/dev/zero", in("zero.json")))
	must(t, os.Mkdir(in("dir.json"), 0o700))
	must(t, syscall.Mkfifo(in("fifo.json"), 0o600))
	big, err := os.Create(in("big.json"))
	must(t, err)
	must(t, big.Truncate(1<<40)) // a terabyte of nothing
	must(t, big.Close())
	for attack, s := range map[string]config.Source{
		"absolute symlink out of the folder": file.NewSource(config.SourceName(in("absolute.json"))),
		"relative symlink out of the folder": file.NewSource(config.SourceName(in("relative.json"))),
		"symlinked folder under Root":        file.NewSource(file.Root(dir), config.SourceName("folder/secret.json")),
		"symlink loop":                       file.NewSource(config.SourceName(in("loop.json"))),
		"symlink to a device":                file.NewSource(config.SourceName(in("zero.json"))),
		"device":                             file.NewSource(config.SourceName("/dev/zero")),
		"device with links followed":         file.NewSource(config.SourceName(in("zero.json")), file.FollowLinks()),
		"folder":                             file.NewSource(config.SourceName(in("dir.json"))),
		"FIFO nobody writes to":              file.NewSource(config.SourceName(in("fifo.json"))),
		"FIFO with links followed":           file.NewSource(config.SourceName(in("fifo.json")), file.FollowLinks()),
		"endless file":                       file.NewSource(config.SourceName(in("big.json"))),
		"../ out of Root":                    file.NewSource(file.Root(dir), config.SourceName("../"+filepath.Base(outside)+"/secret.json")),
		"hidden ../ out of Root":             file.NewSource(file.Root(dir), config.SourceName("a/../../"+filepath.Base(outside)+"/secret.json")),
		"absolute name with Root":            file.NewSource(file.Root(dir), config.SourceName(filepath.Join(outside, "secret.json"))),
		"NUL in the name":                    file.NewSource(config.SourceName(in("ok.json\x00"))),
	} {
		done := make(chan error, 1)
		go func() { _, err := s.Read(); done <- err }()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s was read", attack)
			} else if strings.Contains(err.Error(), "secret\":") {
				t.Errorf("%s: the error shows content: %v", attack, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: Read hangs", attack)
		}
	}
	for name, s := range map[string]config.Source{
		"link with FollowLinks": file.NewSource(config.SourceName(in("absolute.json")), file.FollowLinks()),
		"a name under Root":     file.NewSource(file.Root(dir), config.SourceName("ok.json")),
		"Root of a parent":      file.NewSource(file.Root(filepath.Dir(dir)), config.SourceName(filepath.Base(dir)+"/relative.json")),
	} {
		if _, err := s.Read(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
