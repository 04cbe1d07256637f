package trace

import (
	"errors"
	"sync"
	"time"

	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/clean"
	merrors "go-micro.dev/v6/errors"
	"go-micro.dev/v6/registry"
)

// Span is a piece of work in one service. TraceId is 32 and Id 16 lower-case
// hexadecimal digits, as in the W3C Trace Context; ParentId is empty in the
// first span of a trace. Its Mutex guards Annotations; the other fields belong
// to whoever made the span, until Collect.
//
// A span that is not sampled has ids, but no time and no annotations.
type Span struct {
	Name        string
	Id          string
	TraceId     string
	ParentId    string
	Timestamp   time.Time
	Duration    time.Duration
	Debug       bool // recorded whatever the sampling, here and downstream
	Source      *registry.Service
	Destination *registry.Service
	sync.Mutex
	Annotations []*Annotation

	decision decision
	remote   bool // of another process, known from its headers
	ended    bool
	made     bool  // ids holds TraceId and Id
	dropped  int32 // annotations
	state    string
	room     *room
	ids      [traceparentLen]byte // a traceparent; TraceId and Id point into it
}

// room is what the spans of the wrappers need, allocated at once.
type room struct {
	annotations [2]Annotation
	list        [4]*Annotation
	used        int
	peer        registry.Service
}

// Sampled reports whether the span is recorded. A span made without NewSpan is.
func (s *Span) Sampled() bool { return s.Debug || s.decision != unsampled }

// SpanIDs returns the ids as they are written in logs and headers.
func (s *Span) SpanIDs() (traceID, spanID string) { return s.TraceId, s.Id }

// Annotate adds a tag. Both are cut to MaxKey and MaxValue bytes, and dropped
// when the span has MaxAnnotations already.
func (s *Span) Annotate(key, value string) {
	if s.Sampled() {
		s.add(Annotation{Timestamp: time.Now(), Key: key}, value)
	}
}

// Fail adds the annotation that marks the span as failed. A nil error and the
// normal end of a stream are not failures. Of a go-micro error it keeps the detail.
func (s *Span) Fail(err error) {
	result := call.Of(err)
	if result == call.Success || !s.Sampled() {
		return
	}
	a := Annotation{Timestamp: time.Now(), Key: ErrorKey}
	if result == call.Dropped {
		a.Type = AnnTimeout
	}
	s.add(a, reason(err))
}

// reason returns the text of a user's error, whose Error may panic.
func reason(err error) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = clean.Error(err, MaxValue)
		}
	}()
	var e *merrors.Error
	if !errors.As(err, &e) {
		e = merrors.Parse(err.Error())
	}
	if e.Detail != "" {
		return e.Detail
	}
	return err.Error()
}

// add appends a with the value, within the bounds.
func (s *Span) add(a Annotation, value string) {
	s.Lock()
	defer s.Unlock()
	switch {
	case s.ended:
		return
	case len(s.Annotations) >= MaxAnnotations:
		s.dropped++
		return
	case len(a.Key) > MaxKey || len(value) > MaxValue:
		s.dropped++
		a.Key, value = cut(a.Key, MaxKey), cut(value, MaxValue)
	}
	if value != "" {
		a.Value = []byte(value)
	}
	p := s.place()
	*p = a
	s.Annotations = append(s.Annotations, p)
}

// place returns an annotation of the room, or a new one when it is taken.
func (s *Span) place() *Annotation {
	r := s.ownRoom()
	if r.used == len(r.annotations) {
		return &Annotation{}
	}
	r.used++
	return &r.annotations[r.used-1]
}

func (s *Span) ownRoom() *room {
	if s.room == nil {
		s.room = &room{}
		if s.Annotations == nil {
			s.Annotations = s.room.list[:0]
		}
	}
	return s.room
}

// peer returns a service of which only the name is known. It is for whoever
// makes the span.
func (s *Span) peer(name string) *registry.Service {
	p := &s.ownRoom().peer
	p.Name = name
	return p
}

// End closes s for further annotations, sets its Duration unless that was done,
// and reports whether it shall be sent: once, if it is sampled. It is for authors
// of a Trace; others call Collect.
func (s *Span) End() bool {
	if !s.Sampled() {
		return false
	}
	s.Lock()
	defer s.Unlock()
	if s.ended {
		return false
	}
	s.ended = true
	if s.Timestamp.IsZero() {
		s.Timestamp = time.Now()
	}
	if s.Duration == 0 {
		s.Duration = time.Since(s.Timestamp)
	}
	s.Duration = max(s.Duration, 0)
	return true
}

// DroppedAnnotations returns how many annotations were dropped or cut.
func (s *Span) DroppedAnnotations() int {
	s.Lock()
	defer s.Unlock()
	return int(s.dropped)
}

// TraceState returns the W3C tracestate that came with the trace.
func (s *Span) TraceState() string { return s.state }

// Kind returns the side that the span describes, known from its annotations.
func (s *Span) Kind() Kind {
	s.Lock()
	defer s.Unlock()
	for _, a := range s.Annotations {
		if a == nil {
			continue // set by a user
		}
		if k := a.Type.Kind(); k != KindInternal {
			return k
		}
	}
	return KindInternal
}

// Local returns the service the span was recorded in, or nil.
func (s *Span) Local() *registry.Service {
	if k := s.Kind(); k == KindServer || k == KindConsumer {
		return s.Destination
	}
	return s.Source
}

// Remote returns the service at the other side, or nil.
func (s *Span) Remote() *registry.Service {
	if k := s.Kind(); k == KindServer || k == KindConsumer {
		return s.Source
	}
	return s.Destination
}
