package monitor

import (
	rtm "runtime/metrics"

	pb "github.com/micro/go-platform/monitor/proto"
)

// goRuntime reads the runtime's own counters, which unlike ReadMemStats does
// not stop the world.
func goRuntime() *pb.Runtime {
	s := []rtm.Sample{
		{Name: "/sched/threads/total:threads"},
		{Name: "/sched/goroutines:goroutines"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	rtm.Read(s)
	value := func(i int) int64 {
		if s[i].Value.Kind() != rtm.KindUint64 {
			return 0 // unknown to this Go
		}
		return int64(s[i].Value.Uint64())
	}
	return &pb.Runtime{
		NumThreads: value(0),
		Goroutines: value(1),
		HeapInUse:  value(2),
		HeapTotal:  value(2) + value(3) + value(4),
	}
}
