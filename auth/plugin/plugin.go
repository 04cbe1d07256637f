// Package plugin is for authors of plugins of auth. What the default plugin is
// made of too is in package auth: Carrier, Verifier.
package plugin

import (
	"slices"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
)

// Rules returns rules as go.micro.srv.auth keeps and sends them. It copies their
// lists and checks nothing.
func Rules(rules ...auth.Rule) []*pb.Rule {
	made := make([]*pb.Rule, len(rules))
	for i, r := range rules {
		made[i] = &pb.Rule{
			Id: r.Id, Effect: r.Effect, Priority: r.Priority,
			Accounts: slices.Clone(r.Accounts), Roles: slices.Clone(r.Roles), Scopes: slices.Clone(r.Scopes),
			Services: slices.Clone(r.Services), Methods: slices.Clone(r.Methods), Comment: r.Comment,
		}
	}
	return made
}
