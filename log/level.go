package log

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Level is how much an event matters.
type Level int32

// The levels, and the names they are written with.
const (
	DebugLevel Level = iota // debug
	InfoLevel               // info
	WarnLevel               // warn
	ErrorLevel              // error
	FatalLevel              // fatal
)

// String returns the lower-case name, or the number of an unknown level.
func (l Level) String() string {
	switch l {
	case DebugLevel:
		return "debug"
	case InfoLevel:
		return "info"
	case WarnLevel:
		return "warn"
	case ErrorLevel:
		return "error"
	case FatalLevel:
		return "fatal"
	}
	return strconv.Itoa(int(l))
}

// ParseLevel returns the level of a name, in any letter case, or of a number 0
// to 4: what a flag or a config value holds.
func ParseLevel(s string) (Level, error) {
	s = strings.TrimSpace(s)
	for l := DebugLevel; l <= FatalLevel; l++ {
		if strings.EqualFold(s, l.String()) || s == strconv.Itoa(int(l)) {
			return l, nil
		}
	}
	return 0, fmt.Errorf("unknown log level %.20q: want debug, info, warn, error or fatal", s)
}

// MarshalJSON writes the name.
func (l Level) MarshalJSON() ([]byte, error) {
	if !l.valid() {
		return nil, fmt.Errorf("unknown log level %d", int(l))
	}
	return strconv.AppendQuote(nil, l.String()), nil
}

// UnmarshalJSON reads a name or a number.
func (l *Level) UnmarshalJSON(data []byte) error {
	s := string(data)
	if len(data) > 0 && data[0] == '"' {
		if err := json.Unmarshal(data, &s); err != nil {
			return fmt.Errorf("log level: %w", err)
		}
	}
	level, err := ParseLevel(s)
	if err != nil {
		return err
	}
	*l = level
	return nil
}

func (l Level) valid() bool { return l >= DebugLevel && l <= FatalLevel }

// known returns the level under which an event of level l is logged: a number
// that is not a level must neither end the program nor vanish.
func (l Level) known() Level {
	switch {
	case l < DebugLevel:
		return DebugLevel
	case l > FatalLevel:
		return ErrorLevel
	}
	return l
}
