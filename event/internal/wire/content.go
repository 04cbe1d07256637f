package wire

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	pb "github.com/micro/go-platform/event/proto"
)

// Same reports whether two messages of one id are one event that was published
// twice: type, root, key, data and metadata are the same. Time, origin and span may
// differ: a publication may be repeated later, and by another process.
func Same(a, b *pb.Record) bool {
	return a.Type == b.Type && a.RootId == b.RootId && a.Key == b.Key && a.Data == b.Data && bytes.Equal(a.Binary, b.Binary) &&
		maps.Equal(Own(a.Metadata), Own(b.Metadata))
}

// Own returns the metadata without the ids of spans.
func Own(metadata map[string]string) map[string]string {
	own := make(map[string]string, len(metadata))
	for k, v := range metadata {
		if !ofSpans(strings.ToLower(k)) {
			own[k] = v
		}
	}
	return own
}

func ofSpans(key string) bool {
	return slices.Contains([]string{"traceparent", "tracestate", "b3"}, key) || strings.HasPrefix(key, "x-b3-") || strings.HasPrefix(key, "x-micro-")
}
