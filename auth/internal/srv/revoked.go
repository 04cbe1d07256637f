package srv

import "sync"

// revoked answers whether a token was revoked.
type revoked struct {
	mu       sync.RWMutex
	jtis     map[string]int64 // when to forget
	sids     map[string]int64
	accounts map[string]revocation
}

func newRevoked() *revoked {
	return &revoked{jtis: map[string]int64{}, sids: map[string]int64{}, accounts: map[string]revocation{}}
}

func (r *revoked) add(rs []revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range rs {
		switch {
		case v.jti != "":
			r.jtis[v.jti] = v.expires
		case v.sid != "":
			r.sids[v.sid] = v.expires
		case v.before >= r.accounts[v.account].before:
			r.accounts[v.account] = v
		}
	}
}

func (r *revoked) has(c *claims) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if _, gone := r.jtis[c.ID]; gone {
		return true
	}
	if _, gone := r.sids[c.Session]; gone && c.Session != "" {
		return true
	}
	if c.IssuedAt < r.accounts[c.Subject].before {
		return true
	}
	for a := c.Actor; a != nil; a = a.Actor { // who passed it on
		if a.Since < r.accounts[a.Subject].before {
			return true
		}
	}
	return false
}

// forget drops what hits no token any more.
func (r *revoked) forget(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range []map[string]int64{r.jtis, r.sids} {
		for k, expires := range m {
			if expires < now {
				delete(m, k)
			}
		}
	}
	for k, v := range r.accounts {
		if v.expires < now {
			delete(r.accounts, k)
		}
	}
}
