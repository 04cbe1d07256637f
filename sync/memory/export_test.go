package memory

import "github.com/micro/go-platform/sync/internal/queue"

// Store returns what NewSync is made of.
func (s *Server) Store() queue.Store { return s.store.Store() }
