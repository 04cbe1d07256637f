package memory_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/configtest"
	"github.com/micro/go-platform/config/source/memory"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

func TestSource(t *testing.T) {
	configtest.RunSource(t, func(testing.TB) configtest.Fixture {
		s := memory.NewSource()
		put := func(t testing.TB, values map[string]any) {
			data, err := json.Marshal(values)
			if err != nil {
				t.Fatal(err)
			}
			s.Update(data)
		}
		return configtest.Fixture{Source: s, Put: put, Filled: true}
	})
}

func TestDataIsCopied(t *testing.T) {
	data := []byte(`{"a":1}`)
	s := memory.NewSource(memory.Data(data), config.SourceName("x"))
	data[5] = '2'
	cs, err := s.Read()
	if err != nil || string(cs.Data) != `{"a":1}` || cs.Source != "memory:x" {
		t.Fatalf("%v, %v", cs, err)
	}
	cs.Data[5] = '3'
	if cs, err = s.Read(); err != nil || string(cs.Data) != `{"a":1}` {
		t.Fatalf("%v, %v", cs, err)
	}
	away := errors.New("away")
	s.Fail(away)
	if _, err = s.Read(); !errors.Is(err, away) {
		t.Fatal(err)
	}
}
