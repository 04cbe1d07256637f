package srv

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"strings"
)

// madePrefix begins what is kept of the secrets that this service made: an HMAC
// under a key that is kept with the signing keys. Nobody guesses 256 random bits,
// so that checking one needs no slow hash, and no limit stands before it.
const madePrefix = "$hmac-sha256$"

// made returns what to keep of a secret that newSecret made.
func (h *hasher) made(secret string) string { return madePrefix + h.mac("secret", secret) }

// wasMade reports whether kept is of a secret that newSecret made.
func wasMade(kept string) bool { return strings.HasPrefix(kept, madePrefix) }

// isMade reports whether kept is of this secret.
func (h *hasher) isMade(kept, secret string) bool {
	return hmac.Equal([]byte(kept), []byte(h.made(secret)))
}

// place names a client at a peer in the database, which need not know who comes
// from where.
func (h *hasher) place(who pair) string { return h.mac("place", who.client, who.peer) }

// mac is different for each list of texts.
func (h *hasher) mac(texts ...string) string {
	m := hmac.New(sha256.New, h.key)
	for _, s := range texts {
		fmt.Fprintf(m, "%d:%s", len(s), s)
	}
	return encodeRaw(m.Sum(nil))
}
