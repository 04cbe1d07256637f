package file_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/configtest"
	"github.com/micro/go-platform/config/source/file"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// ways are how programs write a file.
func ways() map[string]func(t *testing.T, path string, data []byte) {
	return map[string]func(*testing.T, string, []byte){
		"Rewritten": write,
		"Replaced": func(t *testing.T, path string, data []byte) {
			write(t, path+".tmp", data)
			must(t, os.Rename(path+".tmp", path))
		},
		"WithBackup": func(t *testing.T, path string, data []byte) { // as vim does
			if err := os.Rename(path, path+"~"); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			write(t, path, data)
			_ = os.Remove(path + "~") // not there the first time
		},
		"Linked": func(t *testing.T, path string, data []byte) { // as Kubernetes does
			dir := filepath.Dir(path)
			version, err := os.MkdirTemp(dir, "..version")
			must(t, err)
			write(t, filepath.Join(version, filepath.Base(path)), data)
			must(t, os.Symlink(filepath.Base(version), filepath.Join(dir, "..tmp")))
			must(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
			if err := os.Symlink(filepath.Join("..data", filepath.Base(path)), path); err != nil && !errors.Is(err, os.ErrExist) {
				t.Fatal(err)
			}
		},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o600))
}

func TestSource(t *testing.T) {
	for name, way := range ways() {
		t.Run(name, func(t *testing.T) {
			configtest.RunSource(t, func(t *testing.T) configtest.Fixture {
				path := filepath.Join(t.TempDir(), "app.json")
				return configtest.Fixture{
					Source: file.NewSource(config.SourceName(path)),
					Put: func(t *testing.T, values map[string]any) {
						data, err := json.Marshal(values)
						must(t, err)
						way(t, path, data)
					},
				}
			})
		})
	}
}

func TestFormats(t *testing.T) {
	for name, data := range map[string]string{
		"a.json": `{"a":{"b":1}}`, "a.yaml": "a:\n  b: 1\n", "a.YML": "a: {b: 1}", "a.toml": "[a]\nb = 1\n", "config.values": `{"a":{"b":1}}`,
	} {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, []byte(data))
		cs, err := file.NewSource(config.SourceName(path)).Read()
		must(t, err)
		merged, err := config.NewReader().Parse(cs)
		if err != nil || string(merged.Data) != `{"a":{"b":1}}` || cs.Timestamp.After(time.Now()) {
			t.Errorf("%s: %v, %v", name, merged, err)
		}
	}
	path := filepath.Join(t.TempDir(), "plain")
	write(t, path, []byte("a: 1"))
	if cs, err := file.NewSource(config.SourceName(path), config.SourceFormat("yaml")).Read(); err != nil || cs.Format != "yaml" {
		t.Errorf("SourceFormat: %v, %v", cs, err)
	}
	t.Chdir(t.TempDir())
	write(t, file.DefaultFileName, []byte(`{"a":1}`))
	if cs, err := file.NewSource().Read(); err != nil || cs.Source != "file:config.values" {
		t.Errorf("the default name: %v, %v", cs, err)
	}
}

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

func TestValuesOfADeletedFileStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	write(t, path, []byte(`{"a":1}`))
	c := config.NewConfig(config.Logger(slog.New(slog.DiscardHandler)), config.WithSource(file.NewSource(config.SourceName(path))), config.PollInterval(config.MinPollInterval))
	must(t, c.Start())
	defer func() { must(t, c.Stop()) }()
	must(t, os.Remove(path))
	rpctest.Eventually(t, "it is told", func() bool { return errors.Is(c.Status()[0].Err, config.ErrNotFound) })
	if got := c.Get("a").Int(0); got != 1 {
		t.Errorf("got %d", got)
	}
	write(t, path, []byte(`{"a":2}`))
	rpctest.Eventually(t, "it is back", func() bool { return c.Get("a").Int(0) == 2 && c.Status()[0].Err == nil })
}

func TestAFolderMayAppearLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	c := config.NewConfig(config.Logger(slog.New(slog.DiscardHandler)), config.WithOptionalSource(file.NewSource(config.SourceName(filepath.Join(dir, "a.json")))))
	must(t, c.Start())
	defer func() { must(t, c.Stop()) }()
	must(t, os.Mkdir(dir, 0o700))
	write(t, filepath.Join(dir, "a.json"), []byte(`{"a":1}`))
	rpctest.Eventually(t, "it is found", func() bool { return c.Get("a").Int(0) == 1 })
}
