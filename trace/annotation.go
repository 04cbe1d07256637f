package trace

import (
	"time"
	"unicode/utf8"

	"go-micro.dev/v6/registry"
)

// Annotation is something that happened during a span, or a tag: a Key with a
// Value.
type Annotation struct {
	Timestamp time.Time
	Type      AnnotationType
	Key       string
	Value     []byte
	Debug     map[string]string
	Service   *registry.Service // where it happened
}

// AnnotationType says what happened.
type AnnotationType int32

// The types of annotations. A tag is AnnUnknown.
const (
	AnnUnknown AnnotationType = iota
	AnnStart
	AnnEnd
	AnnTimeout
	AnnClientRequest
	AnnClientResponse
	AnnClientPublication
	AnnServerRequest
	AnnServerResponse
	AnnServerSubscription
)

// Kind is the side of an interaction that a span describes.
type Kind int32

// The kinds of spans. KindInternal is work inside a service.
const (
	KindInternal Kind = iota
	KindClient
	KindServer
	KindProducer
	KindConsumer
)

// String returns the kind in lower case.
func (k Kind) String() string {
	switch k {
	case KindClient:
		return "client"
	case KindServer:
		return "server"
	case KindProducer:
		return "producer"
	case KindConsumer:
		return "consumer"
	default:
		return "internal"
	}
}

// Kind returns the kind of a span that has an annotation of this type.
func (t AnnotationType) Kind() Kind {
	switch t {
	case AnnClientRequest, AnnClientResponse:
		return KindClient
	case AnnServerRequest, AnnServerResponse:
		return KindServer
	case AnnClientPublication:
		return KindProducer
	case AnnServerSubscription:
		return KindConsumer
	default:
		return KindInternal
	}
}

// Bounds of what one span holds. Longer keys and values are cut, further
// annotations dropped; Span.DroppedAnnotations counts them.
const (
	MaxAnnotations = 128
	MaxKey         = 128  // bytes
	MaxValue       = 1024 // bytes
	MaxName        = 256  // bytes, of spans and services
)

// ErrorKey is the key of the annotation that says how a span failed.
const ErrorKey = "error"

// cut returns the first bytes of s, at most size and whole characters.
func cut(s string, size int) string {
	if len(s) <= size {
		return s
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return s[:size]
}
