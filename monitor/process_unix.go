//go:build unix

package monitor

import (
	"runtime"
	"syscall"

	pb "github.com/micro/go-platform/monitor/proto"
)

// usage returns what the process used since it began (getrusage(2)).
func usage() (*pb.CPU, *pb.Memory, *pb.Disk) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return nil, nil, nil // reported as absent
	}
	rss := int64(u.Maxrss) // kilobytes, but on macOS bytes
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		rss <<= 10
	}
	return &pb.CPU{
			UserTime:     u.Utime.Nano(),
			SystemTime:   u.Stime.Nano(),
			VolCtxSwitch: int64(u.Nvcsw),
			InvCtxSwitch: int64(u.Nivcsw),
		},
		&pb.Memory{MaxRss: rss},
		&pb.Disk{InBlock: int64(u.Inblock), OuBlock: int64(u.Oublock)}
}
