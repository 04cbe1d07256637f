// This file, with ContextSource, is for authors of sources; users of config need
// nothing of it.

package config

import (
	"context"

	"github.com/micro/go-platform/internal/option"
)

// NewSourceOptions returns the defaults with the options applied.
func NewSourceOptions(opts ...SourceOption) SourceOptions {
	o := SourceOptions{Context: context.Background()}
	option.Apply(&o, opts)
	return o
}

// NewChangeSet returns what a source called source says, with the time and the
// checksum filled in.
func NewChangeSet(source, format string, data []byte) *ChangeSet {
	return &ChangeSet{Timestamp: now(), Data: data, Checksum: checksum(data), Source: source, Format: format}
}
