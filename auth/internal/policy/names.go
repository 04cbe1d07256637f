package policy

import (
	"slices"
	"strings"
)

// The names of the platform's own services, and the role of these.
const (
	PlatformPrefix = "go.micro.srv."
	PlatformRole   = "platform"
)

// Owns reports whether a service's name belongs to an account: it is the
// account's id or below it ("greeter", "greeter.kv"). One of the platform's
// belongs to the account of just that name, which must have the platform's role.
func Owns(account string, roles []string, name string) bool {
	if account == "" {
		return false
	}
	if strings.HasPrefix(name, PlatformPrefix) {
		return account == name && slices.Contains(roles, PlatformRole)
	}
	return account == name || strings.HasPrefix(name, account) && name[len(account)] == '.'
}
