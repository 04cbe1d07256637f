package auth

// Rule allows or denies calls. Of the rules that match a call the one with the
// highest Priority decides; of equal ones a denial. Without any rule a good token
// may call everything; as soon as there is one, what none matches is denied.
type Rule struct {
	Id       string // 1 to 128 printable bytes, no other rule's
	Effect   string // "allow" or "deny"
	Priority int64  // within plus and minus a billion
	// Accounts and Roles say who: a call matches if any of them fits, and when
	// both are empty. Of Accounts, ids, "a.*" is a prefix and "*" everybody.
	Accounts []string
	Roles    []string
	// Scopes are those that the token must have, all of them.
	Scopes []string
	// Services and Methods say what: both must match, empty is everything. In
	// both "*" is everything too; "go.micro.srv.*" and "Account.*" are prefixes.
	Services []string
	Methods  []string
	Comment  string // for people, at most 1024 bytes
}
