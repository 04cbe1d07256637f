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
	// These have 32 bits on some platforms.
	rss, voluntary, involuntary := int64(u.Maxrss), int64(u.Nvcsw), int64(u.Nivcsw) //nolint:unconvert // see above
	in, out := int64(u.Inblock), int64(u.Oublock)                                   //nolint:unconvert // see above
	// Kilobytes, but on macOS bytes.
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		rss <<= 10
	}
	return &pb.CPU{
			UserTime:     u.Utime.Nano(),
			SystemTime:   u.Stime.Nano(),
			VolCtxSwitch: voluntary,
			InvCtxSwitch: involuntary,
		},
		&pb.Memory{MaxRss: rss},
		&pb.Disk{InBlock: in, OuBlock: out}
}
