package env_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/configtest"
	"github.com/micro/go-platform/config/source/env"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestSource(t *testing.T) {
	configtest.RunSource(t, func(t testing.TB) configtest.Fixture {
		put := func(t testing.TB, values map[string]any) {
			clearAll()
			setAll(t, "PLATFORM_TEST", values)
		}
		t.Cleanup(clearAll)
		return configtest.Fixture{Source: env.NewSource(env.Prefix("PLATFORM_TEST_")), Put: put, Silent: true, Filled: true}
	})
}

func clearAll() {
	for _, pair := range os.Environ() {
		if strings.HasPrefix(pair, "PLATFORM_TEST_") {
			name, _, _ := strings.Cut(pair, "=")
			_ = os.Unsetenv(name) // it is the name of a variable
		}
	}
}

func setAll(t testing.TB, name string, v any) {
	t.Helper()
	if below, ok := v.(map[string]any); ok {
		for key, x := range below {
			setAll(t, name+"_"+strings.ToUpper(key), x)
		}
		return
	}
	t.Setenv(name, fmt.Sprint(v))
}

func TestNames(t *testing.T) {
	for name, c := range map[string]struct {
		opts []config.SourceOption
		vars map[string]string
		want string
		err  string
	}{
		"nested":        {[]config.SourceOption{env.Prefix("X_")}, map[string]string{"X_DB_HOST": "h", "X_DB_PORT": "1", "Y_Z": "no"}, `{"db":{"host":"h","port":"1"}}`, ""},
		"separator":     {[]config.SourceOption{env.Prefix("X_"), env.Separator("__")}, map[string]string{"X_DB__MAX_CONNS": "5"}, `{"db":{"max_conns":"5"}}`, ""},
		"equals":        {[]config.SourceOption{env.Prefix("X_")}, map[string]string{"X_A": "b=c=d", "X_EMPTY": ""}, `{"a":"b=c=d","empty":""}`, ""},
		"none":          {[]config.SourceOption{env.Prefix("X_")}, nil, `{}`, ""},
		"conflict":      {[]config.SourceOption{env.Prefix("X_")}, map[string]string{"X_A": "1", "X_A_B": "2", "X_C": "3"}, `{"a":"1","c":"3"}`, "X_A_B and X_A exclude"},
		"kubernetes":    {[]config.SourceOption{env.Prefix("X_")}, map[string]string{"X_PORT": "tcp://10.0.0.1:80", "X_PORT_80_TCP": "tcp://10.0.0.1:80", "X_DB_HOST": "h"}, `{"db":{"host":"h"},"port":"tcp://10.0.0.1:80"}`, "X_PORT_80_TCP"},
		"empty part":    {[]config.SourceOption{env.Prefix("X_")}, map[string]string{"X_A__B": "1"}, "{}", "X_A__B"},
		"case conflict": {[]config.SourceOption{env.Prefix("X_")}, map[string]string{"X_A": "1", "X_a": "2"}, `{"a":"1"}`, "exclude"},
		"no prefix":     {nil, nil, "", "option Prefix"},
		"no separator":  {[]config.SourceOption{env.Prefix("X_"), env.Separator("")}, nil, "", "option Separator"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.vars {
				t.Setenv(k, v)
			}
			cs, err := env.NewSource(c.opts...).Read()
			if c.want == "" {
				if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want an error with %q", err, c.err)
				}
				return
			}
			if err != nil || string(cs.Data) != c.want {
				t.Errorf("got %v, %v, want %s", cs, err, c.want)
			} else if text := strings.Join(cs.Skipped, ""); !strings.Contains(text, c.err) || c.err == "" && text != "" {
				t.Errorf("skipped %q", cs.Skipped)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range [][2]string{{"DB_HOST", "_"}, {"A__B", "__"}, {"_", "_"}, {"é.É", "."}, {"A", "a"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, separator string) {
		if strings.ContainsAny(name, "=\x00") || len(name) > 1000 {
			return // no name of a variable
		}
		t.Setenv("FUZZ_"+name, "v")
		cs, err := env.NewSource(env.Prefix("FUZZ_"), env.Separator(separator)).Read()
		if err != nil {
			return
		}
		if _, err := config.NewReader().Parse(cs); err != nil && !errors.Is(err, config.ErrInvalid) {
			t.Error(err)
		}
	})
}
