package auth

// Rule allows or denies calls. Of the rules that match a call the one with the
// highest Priority decides; of equal ones a denial. While there are only the
// starting rules of auth-srv, a good token may call everything but the
// platform's services, "go.micro.srv.*". As soon as there is another rule, a
// call that no rule matches is denied.
//
// A rule whose Services begin with "name:" is about names, not about calls: it
// says which accounts may register nodes of the service, and exchange tokens
// that were sent to it. It has no Methods. A name that no rule matches belongs
// to the account of that id, as do the names below it ("greeter",
// "greeter.kv"); "go.micro.srv.*" need the role "platform" besides.
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
