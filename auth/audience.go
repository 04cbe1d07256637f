package auth

import (
	"context"
	"strings"
)

// topicPrefix begins the audience of tokens for messages. No service has such a
// name.
const topicPrefix = "topic:"

// TopicAudience returns whom a token for messages of a topic is for: those who
// subscribe to it. No RPC accepts such a token.
func TopicAudience(topic string) string { return topicPrefix + topic }

// IsTopicAudience reports whether an audience is a topic's.
func IsTopicAudience(audience string) bool { return strings.HasPrefix(audience, topicPrefix) }

// Source is an Auth whose tokens are for one service or topic each, so that
// whoever is sent one can show it to nobody else. ClientWrapper asks it for each
// service that is called; programs that send tokens by hand do so themselves.
type Source interface {
	// TokenFor returns the own token for an audience: the name of a service, or
	// TopicAudience of a topic. It is asked for when it is first needed, for
	// which TokenFor waits a few seconds at most, and kept fresh in the
	// background for as long as it is used. Its errors are those of Token, and
	// ErrLimited when more than 1024 audiences are in use.
	TokenFor(audience string) (*Token, error)
}

// Exchanger is an Auth that exchanges the tokens of others (RFC 8693).
type Exchanger interface {
	// Exchange returns t if it is for the audience, else a token with which this
	// service acts at the audience for whom t speaks. The service must be whom t
	// is for, or have been given it. What it returns is kept until it expires;
	// only the first time a call is made, for which Exchange waits until ctx
	// ends, a few seconds at most.
	Exchange(ctx context.Context, t *Token, audience string) (*Token, error)
}

// Aimed is a Request that says whom a token must be for, which the wrappers know:
// the service that they decide for, or the topic. Without it a token must be for
// the service of the Auth, but for one that this service was given itself: that
// is for the service of the Request.
type Aimed interface {
	Request
	Audience() string
}
