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
func ways() map[string]func(t testing.TB, path string, data []byte) {
	return map[string]func(testing.TB, string, []byte){
		"Rewritten": write,
		"Replaced": func(t testing.TB, path string, data []byte) {
			write(t, path+".tmp", data)
			must(t, os.Rename(path+".tmp", path))
		},
		"WithBackup": func(t testing.TB, path string, data []byte) { // as vim does
			if err := os.Rename(path, path+"~"); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			write(t, path, data)
			_ = os.Remove(path + "~") // not there the first time
		},
		"Linked": func(t testing.TB, path string, data []byte) { // as Kubernetes does
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o600))
}

func TestSource(t *testing.T) {
	for name, way := range ways() {
		t.Run(name, func(t *testing.T) {
			configtest.RunSource(t, func(t testing.TB) configtest.Fixture {
				path := filepath.Join(t.TempDir(), "app.json")
				return configtest.Fixture{
					Source: file.NewSource(config.SourceName(path)),
					Put: func(t testing.TB, values map[string]any) {
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

// TestTheWayMoves: what leads to the file is replaced, not the file in its folder.
func TestTheWayMoves(t *testing.T) {
	for name, move := range map[string]func(dir, data string){
		"folder made anew": func(dir, data string) {
			must(t, os.RemoveAll(dir))
			must(t, os.Mkdir(dir, 0o700))
			write(t, filepath.Join(dir, "a.json"), []byte(data))
		},
		"folder replaced": func(dir, data string) {
			next := dir + data[5:6]
			must(t, os.Mkdir(next, 0o700))
			write(t, filepath.Join(next, "a.json"), []byte(data))
			must(t, os.Rename(dir, dir+".old"+data[5:6]))
			must(t, os.Rename(next, dir))
		},
		"git-sync": func(dir, data string) { // the folder is a link
			next := dir + data[5:6]
			must(t, os.Mkdir(next, 0o700))
			write(t, filepath.Join(next, "a.json"), []byte(data))
			must(t, os.RemoveAll(dir))
			must(t, os.Symlink(next, dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "config")
			must(t, os.Mkdir(dir, 0o700))
			write(t, filepath.Join(dir, "a.json"), []byte(`{"a":0}`))
			c := config.NewConfig(config.PollInterval(time.Hour), config.WithSource(file.NewSource(config.SourceName(filepath.Join(dir, "a.json")))))
			must(t, c.Start())
			defer func() { must(t, c.Stop()) }()
			for _, data := range []string{`{"a":1}`, `{"a":2}`, `{"a":3}`} {
				move(dir, data)
				rpctest.Eventually(t, data+" arrives", func() bool { return string(c.Bytes()) == data })
			}
			write(t, filepath.Join(dir, "a.json"), []byte(`{"a":4}`))
			rpctest.Eventually(t, "a change in the new folder arrives", func() bool { return c.Get("a").Int(0) == 4 })
		})
	}
	t.Run("target of a link", func(t *testing.T) {
		dir, elsewhere := t.TempDir(), t.TempDir()
		target, link := filepath.Join(elsewhere, "target.json"), filepath.Join(dir, "a.json")
		write(t, target, []byte(`{"a":0}`))
		must(t, os.Symlink(target, link))
		c := config.NewConfig(config.PollInterval(time.Hour), config.WithSource(file.NewSource(config.SourceName(link), file.FollowLinks())))
		must(t, c.Start())
		defer func() { must(t, c.Stop()) }()
		write(t, target, []byte(`{"a":12}`))
		rpctest.Eventually(t, "the change arrives", func() bool { return c.Get("a").Int(0) == 12 })
	})
}
