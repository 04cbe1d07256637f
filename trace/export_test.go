package trace

import pb "github.com/micro/go-platform/trace/proto"

// Message is message.
func Message(s *Span) *pb.Span { return message(s) }
