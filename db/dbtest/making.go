package dbtest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/micro/go-platform/db"
)

// making checks that other calls find nothing, or get ErrUnavailable, while the
// first write creates the table.
func making(t *testing.T, s *suite) {
	for round := range 4 {
		table := NewName("made")
		d := s.new(t, db.Table(table), db.Timeout(30*time.Second))
		start(t, d)
		stop := s.keep(t, 6, func(worker, _ int) error {
			var err error
			switch worker {
			case 0:
				_, err = d.Search(db.Metadata{"k": 1}, 0, 0)
			case 1:
				_, err = d.Search(nil, 0, 0, db.OrderBy("k"))
			case 2:
				err = d.Delete("other")
			case 3:
				err = d.Update(db.NewRecord("other", db.Metadata{"k": 1}, nil))
			case 4:
				err = d.Delete("other", db.Fence(1))
			default:
				_, err = d.Read("other")
			}
			if errors.Is(err, db.ErrNotFound) || errors.Is(err, db.ErrUnavailable) {
				err = nil
			}
			return err
		})
		err := d.Create(db.NewRecord(fmt.Sprint(round), db.Metadata{"k": 1}, nil), db.Fence(1))
		stop()
		must(t, err)
	}
}
