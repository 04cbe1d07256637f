// Package plugin is for authors of outputs, beside what package log has for them
// in its plugin.go.
package plugin

import "github.com/micro/go-platform/log/internal/escape"

// AppendQuoted appends s as a JSON string with the escapes of
// log.Event.AppendJSON: nothing in it can end the string, end the line or steer a
// terminal.
func AppendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = escape.Append(dst, s)
	return append(dst, '"')
}
