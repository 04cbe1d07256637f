package srv_test

import (
	"fmt"
	"strings"
	"testing"

	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/call"
)

// fill is a config of nearly as many bytes.
func fill(key string, bytes int) string {
	return fmt.Sprintf(`{"%s":"%s"}`, key, strings.Repeat("x", bytes-100))
}

// wholeRefused expects the refusal of a write that makes a config too large for its
// readers, named with the bound.
func wholeRefused(t *testing.T, what string, err error, id, bound string) {
	t.Helper()
	if call.Code(err) != 400 || !strings.Contains(err.Error(), id+" with all that it inherits") || !strings.Contains(err.Error(), bound) {
		t.Errorf("%s: %.300v", what, err)
	}
}

const wholeBytes = "more than 4128768 bytes"

// TestWholeIsBounded: what makes a config larger, with all that it inherits, than a
// default client takes is refused, whichever of its parts is written; it would be
// pushed to nobody.
func TestWholeIsBounded(t *testing.T) {
	const mb = 1 << 20
	w := newWorld(t)
	put := func(id, data string) error {
		_, err := w.Update(within(t), &pb.UpdateRequest{Change: change(id, "", data)})
		return err
	}
	w.create("default:CONFIG", fill("dc", mb))
	w.create("default:app", fill("da", mb))
	w.create("a:CONFIG", fill("ac", mb))
	_, err := w.Create(within(t), &pb.CreateRequest{Change: change("a:app", "", fill("aa", mb))})
	wholeRefused(t, "the last part", err, "a:app", wholeBytes)
	w.create("a:app", `{"small":1}`)
	s, err := w.Watch(within(t), &pb.WatchRequest{Id: "a:app"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() // the test is over
	if rsp, err := s.Recv(); err != nil || len(rsp.ChangeSet.GetData()) < 3*mb-400 {
		t.Errorf("3 MB: %v, %v", len(rsp.GetChangeSet().GetData()), err)
	}
	wholeRefused(t, "a part that grows", put("a:app", fill("aa", mb)), "a:app", wholeBytes)
	_, err = w.Update(within(t), &pb.UpdateRequest{
		Change: change("a:app", "", fill("aa", mb)), Rollout: &pb.Rollout{Percent: 1},
	})
	wholeRefused(t, "a rollout", err, "a:app", wholeBytes)

	for _, c := range []struct{ id, data string }{{"default:CONFIG", `{}`}, {"a:app", fill("aa", mb)}} {
		if err := put(c.id, c.data); err != nil {
			t.Fatalf("there is room again: %v", err)
		}
	}
	wholeRefused(t, "what an heir inherits", put("default:CONFIG", fill("dc", mb)), "a:app", wholeBytes)

	w.create("b:app", fill("ba", mb))
	_, err = w.Inherit(within(t), &pb.InheritRequest{Namespace: &pb.Namespace{Name: "b", Parent: "a"}})
	wholeRefused(t, "an inheritance", err, "b:app", wholeBytes)
	if _, err := w.Delete(within(t), &pb.DeleteRequest{Change: change("b:app", "", "")}); err != nil {
		t.Error(err)
	}
	if _, err := w.Inherit(within(t), &pb.InheritRequest{Namespace: &pb.Namespace{Name: "b", Parent: "a"}}); err != nil {
		t.Error(err)
	}
}

// TestValuesOfTheWholeAreBounded: readers refuse more values than one document may
// have.
func TestValuesOfTheWholeAreBounded(t *testing.T) {
	w := newWorld(t)
	list := `[1` + strings.Repeat(",1", 120_000) + `]`
	w.create("default:app", `{"a":`+list+`}`)
	_, err := w.Create(within(t), &pb.CreateRequest{Change: change("n:app", "", `{"b":`+list+`}`)})
	wholeRefused(t, "too many values", err, "n:app", "200000 values")
}
