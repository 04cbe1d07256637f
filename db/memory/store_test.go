package memory

import (
	"testing"

	"github.com/micro/go-platform/db/internal/srv/driver/drivertest"
)

func TestSearchesAreBounded(t *testing.T) {
	drivertest.Bytes(t, &store{tables: make(map[string]*table)})
}
