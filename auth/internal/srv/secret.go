package srv

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

// The cost of argon2id: OWASP's Password Storage Cheat Sheet, 2023. There is no
// limit on the length of what it hashes, and all of it counts.
const (
	hashMemory = 19 << 10 // KiB
	hashPasses = 2
	hashSize   = 32
	saltSize   = 16
	hashPrefix = "$argon2id$v=19$m=19456,t=2,p=1$"
)

// newSecret returns 256 random bits as text that needs no quoting anywhere.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// looksMade reports whether a secret may be one of newSecret.
func looksMade(secret string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(secret)
	return err == nil && len(b) == 32
}

// digest is what is kept of secrets that newSecret made: nobody can guess them,
// so that they need no slow hash.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// lane lets a bounded number of goroutines compute while a bounded number waits.
type lane struct {
	workers chan struct{}
	waiting atomic.Int64
	queue   int64
	took    atomic.Int64 // ns that the last one computed
}

// hasher makes and checks the hashes of secrets. Callers who lately knew their
// secret have a lane, and with it processors, of their own: who floods the
// other lane with guesses does not delay them.
type hasher struct {
	known, unknown lane
	nobody         string // a hash that no secret has
	key            []byte // of made secrets and of places
}

// maxWaiting bounds the queue of a lane; at some 30 ms for each that is a wait
// of about two seconds.
const maxWaiting = 64

// maxOfPeer is how many of those may wait for one peer: a flood from one place
// leaves room for first logins from elsewhere.
const maxOfPeer = maxWaiting / 2

// newHasher returns a hasher without a key: see first.begin.
func newHasher() *hasher {
	workers := max(1, runtime.GOMAXPROCS(0)/2)
	return &hasher{
		known:   lane{workers: make(chan struct{}, workers), queue: maxWaiting},
		unknown: lane{workers: make(chan struct{}, workers), queue: maxWaiting},
		nobody:  hashPrefix + encodeRaw(make([]byte, saltSize)) + "$" + encodeRaw(make([]byte, hashSize)),
	}
}

func encodeRaw(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// do runs f in the lane, or fails with ErrLimited when too many wait already.
func (l *lane) do(ctx context.Context, f func()) error {
	if l.waiting.Add(1) > l.queue {
		l.waiting.Add(-1)
		return errBusy
	}
	select {
	case l.workers <- struct{}{}:
		l.waiting.Add(-1)
	case <-ctx.Done():
		l.waiting.Add(-1)
		return ctx.Err()
	}
	defer func() { <-l.workers }()
	begun := time.Now()
	f()
	l.took.Store(int64(time.Since(begun)))
	return nil
}

// inTime returns errLate if the caller's deadline is earlier than its turn would
// be over.
func (l *lane) inTime(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	turns := 1 + l.waiting.Load()/int64(cap(l.workers))
	if ok && time.Until(deadline) < time.Duration(turns*l.took.Load()) {
		return errLate
	}
	return nil
}

// hash returns what to keep of a secret that somebody chose. Only the admin's calls
// come here.
func (h *hasher) hash(ctx context.Context, secret string) (kept string, err error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // it never fails
	err = h.known.do(ctx, func() {
		kept = hashPrefix + encodeRaw(salt) + "$" + encodeRaw(key(secret, salt))
	})
	return kept, err
}

func key(secret string, salt []byte) []byte {
	return argon2.IDKey([]byte(secret), salt, hashPasses, hashMemory, 1, hashSize)
}

// verify reports whether kept is of the secret. An empty one is of none, and
// takes as long.
func (h *hasher) verify(ctx context.Context, l *lane, kept, secret string) (ok bool, err error) {
	if kept == "" {
		kept = h.nobody
	}
	salt, sum, err := parseHash(kept)
	if err != nil {
		return false, err
	}
	err = l.do(ctx, func() { ok = subtle.ConstantTimeCompare(key(secret, salt), sum) == 1 })
	return ok, err
}

func parseHash(kept string) (salt, sum []byte, err error) {
	rest, ok := strings.CutPrefix(kept, hashPrefix)
	saltText, sumText, ok2 := strings.Cut(rest, "$")
	if ok && ok2 {
		if salt, err = base64.RawStdEncoding.DecodeString(saltText); err == nil {
			sum, err = base64.RawStdEncoding.DecodeString(sumText)
		}
	}
	if !ok || !ok2 || err != nil || len(sum) != hashSize {
		return nil, nil, fmt.Errorf("the secret in the database is not an argon2id hash of ours")
	}
	return salt, sum, nil
}
