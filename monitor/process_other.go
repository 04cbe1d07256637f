//go:build !unix

package monitor

import pb "github.com/micro/go-platform/monitor/proto"

// usage reports nothing: there is no getrusage here.
func usage() (*pb.CPU, *pb.Memory, *pb.Disk) { return nil, nil, nil }
