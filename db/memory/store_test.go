package memory

import (
	"testing"

	"github.com/micro/go-platform/internal/srv/db/driver/drivertest"
)

func TestSearchesAreBounded(t *testing.T) {
	drivertest.Bytes(t, &store{tables: make(map[string]*table)})
}
