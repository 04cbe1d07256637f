package rpctest

import (
	"strings"
	"sync"
)

// Buffer keeps what several goroutines write.
type Buffer struct {
	Until string // text after which
	Then  func() // this is called, at every write; nil: nothing is
	mu    sync.Mutex
	text  strings.Builder
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.text.Write(p)
	if b.Then != nil && strings.Contains(b.text.String(), b.Until) {
		b.Then()
	}
	return n, err
}

// String returns all that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
