package queue

import (
	"fmt"
	"time"

	"github.com/micro/go-platform/internal/lifecycle"
)

// debts is what Stop has to give back. The mu of Queues guards it.
type debts struct {
	entries int           // of leases that have not been revoked
	ttl     time.Duration // the longest of these
	err     error         // of a revocation that failed
}

// owe notes that the session of a Sync that stops has n entries at the server.
func (q *Queues) owe(s *session, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.owed.entries += n
	if n > 0 {
		q.owed.ttl = max(q.owed.ttl, s.ttl)
	}
}

// paid notes that a session that owed n entries was revoked, or err.
func (q *Queues) paid(n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		q.owed.entries -= n
	} else if n > 0 {
		q.owed.err = err
	}
}

// lost returns the ErrLost of what was not given back.
func (q *Queues) lost() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	why := "no answer in time"
	if q.owed.err != nil {
		why = q.owed.err.Error()
	}
	return lifecycle.Lost("sync", q.owed.entries, "release",
		fmt.Sprintf("what was held stays so until its lease ends, at the latest in %v: %s: %s", q.owed.ttl, q.String(), why))
}
