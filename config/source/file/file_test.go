package file_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
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
