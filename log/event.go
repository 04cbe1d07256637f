package log

import (
	"maps"
	"reflect"
	"strings"
	"unsafe"
)

// Fields are the names and values that an event carries beside its message.
type Fields map[string]string

// Field is one of them, for LogFields.
type Field struct {
	Key   string
	Value string
}

// Event is one thing that was logged. As JSON it is one object on one line:
//
//	{"level":"info","fields":{"id":"7"},"timestamp":1796000000000000000,"message":"started"}
//
// The fields are an object of their own, so that none can pose as the level, the
// time or the message.
type Event struct {
	Level     Level  `json:"level"`            // written as its name, read as name or number
	Fields    Fields `json:"fields,omitempty"` // may be nil; never to be changed
	Timestamp int64  `json:"timestamp"`        // unix nanoseconds; 0 when not known
	Message   string `json:"message"`

	// What is already known of the encoding of Fields, as long as Fields is the
	// map it was made for: a held part and the ones given at the call.
	known unsafe.Pointer
	held  *fieldSet
	extra []Field
}

// Clone returns a copy that may be kept and changed.
func (e *Event) Clone() *Event {
	return &Event{
		Level:     e.Level,
		Fields:    maps.Clone(e.Fields),
		Timestamp: e.Timestamp,
		Message:   strings.Clone(e.Message),
	}
}

// MarshalJSON writes what AppendJSON does.
func (e Event) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil), nil }

// identity tells maps apart, so that an Event whose Fields were exchanged is not
// written with what was encoded for others.
func identity(f Fields) unsafe.Pointer { return reflect.ValueOf(f).UnsafePointer() }
