package policy

import (
	"fmt"
	"slices"
	"strings"

	pb "github.com/micro/go-platform/auth/proto"
)

// NamePrefix begins the services of rules about names, which say who may hold
// the name of a service. No call has such a service.
const NamePrefix = "name:"

// IsNames reports whether a rule is about names.
func IsNames(r *pb.Rule) bool {
	return len(r.GetServices()) > 0 && strings.HasPrefix(r.Services[0], NamePrefix)
}

func trimNames(services []string) []string {
	trimmed := make([]string, len(services))
	for i, s := range services {
		trimmed[i] = strings.TrimPrefix(s, NamePrefix)
	}
	return trimmed
}

// Holds decides whether an account may hold a service's name: register nodes of
// it, and exchange the tokens that were sent to it. A rule about the name
// decides; without one Owns does. c.Service is the name.
func (s *Set) Holds(c *Call) Decision {
	if r := s.names.match(c); r != nil {
		return r.outcome
	}
	if Owns(c.Account, c.Roles, c.Service) {
		return Decision{Allowed: true, Reason: "the name is the account's"}
	}
	return Decision{Reason: fmt.Sprintf("it is another account's, and no rule with the service %q grants it", NamePrefix+c.Service)}
}

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
