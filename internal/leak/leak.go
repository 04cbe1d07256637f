// Package leak fails a package's tests when goroutines are left at their end.
package leak

import (
	"runtime"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end on a busy machine: a call
// that was cancelled keeps one of go-micro's for five seconds, and connections
// in the pools of its rpc clients, which cannot be closed, go with the garbage.
const patience = 20 * time.Second

// Main is goleak.VerifyTestMain for a machine with other work to do: goleak
// itself waits less than half a second. Goroutines that go-micro starts when it is
// imported, and that nobody can stop, are not leaks.
func Main(m goleak.TestingM, opts ...goleak.Option) {
	opts = append(opts,
		goleak.IgnoreTopFunction("go-micro.dev/v6/config/loader/memory.(*watcher).Next"),
		goleak.IgnoreTopFunction("go-micro.dev/v6/config/loader/memory.(*memory).Watch.func1"),
		goleak.IgnoreTopFunction("go-micro.dev/v6/config.(*config).run.func2"))
	goleak.VerifyTestMain(patient{m, opts}, opts...)
}

type patient struct {
	goleak.TestingM
	opts []goleak.Option
}

func (p patient) Run() int {
	code := p.TestingM.Run()
	for deadline := time.Now().Add(patience); code == 0 && time.Now().Before(deadline); {
		runtime.GC() // what it finds is finalized while goleak looks, several times each
		if goleak.Find(p.opts...) == nil {
			break
		}
	}
	return code
}
