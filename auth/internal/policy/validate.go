package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
)

// The effects of a rule.
const (
	Allow = "allow"
	Deny  = "deny"
)

// Bounds of a set and of a rule.
const (
	MaxRules    = 10_000
	MaxNames    = 64  // in each list of a rule
	MaxName     = 256 // bytes
	MaxComment  = 1024
	MaxPriority = 1_000_000_000 // and, negative, the lowest
)

// Validate returns what is wrong with a rule, naming the field.
func Validate(r *pb.Rule) error {
	field, why := fault(r)
	if why == "" {
		return nil
	}
	return fmt.Errorf("rule %.128q: %w: %s: %s", r.GetId(), rpcerr.ErrInvalid, field, why)
}

func fault(r *pb.Rule) (field, why string) {
	switch {
	case !clean.Name(r.GetId(), MaxName/2):
		return "id", "must be 1 to 128 printable bytes"
	case r.Effect != Allow && r.Effect != Deny:
		return "effect", `must be "allow" or "deny"`
	case r.Priority > MaxPriority || r.Priority < -MaxPriority:
		return "priority", "must be within plus and minus 1000000000"
	case len(r.Comment) > MaxComment || !utf8.ValidString(r.Comment) || strings.ContainsFunc(r.Comment, unicode.IsControl):
		return "comment", "must be at most 1024 bytes without control characters"
	}
	services := r.Services
	if IsNames(r) {
		for _, n := range services {
			if !strings.HasPrefix(n, NamePrefix) {
				return "services", "names and services do not go together in a rule"
			}
		}
		if services = trimNames(services); len(r.Methods) > 0 {
			return "methods", "names have none"
		}
	} else if slices.ContainsFunc(services, func(n string) bool { return strings.HasPrefix(n, NamePrefix) }) {
		return "services", "names and services do not go together in a rule"
	}
	for _, list := range []struct {
		field    string
		names    []string
		patterns bool
	}{
		{"accounts", r.Accounts, true}, {"roles", r.Roles, false}, {"scopes", r.Scopes, false},
		{"services", services, true}, {"methods", r.Methods, true},
	} {
		if why := faultOfNames(list.names, list.patterns); why != "" {
			return list.field, why
		}
	}
	return "", ""
}

func faultOfNames(names []string, patterns bool) string {
	if len(names) > MaxNames {
		return "must be at most 64"
	}
	for _, n := range names {
		if !clean.Name(n, MaxName) {
			return "each must be 1 to 256 printable bytes"
		}
		switch star := strings.IndexByte(n, '*'); {
		case star < 0:
		case !patterns:
			// Taken for a name it would match nobody, which is bad in a denial.
			return "cannot be patterns"
		case star != len(n)-1 || star > 0 && n[star-1] != '.':
			return `a pattern is "*" or ends in ".*"`
		}
	}
	return ""
}
