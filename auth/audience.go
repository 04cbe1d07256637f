package auth

import (
	"context"
	"strings"
)

// topicPrefix begins the audience of tokens for messages. No service has such a
// name.
const topicPrefix = "topic:"

// TopicAudience returns the audience of tokens for the messages of a topic: its
// subscribers. No RPC accepts such a token.
func TopicAudience(topic string) string { return topicPrefix + topic }

// IsTopicAudience reports whether an audience is a topic's.
func IsTopicAudience(audience string) bool { return strings.HasPrefix(audience, topicPrefix) }

// Source is an Auth whose tokens are each for one service or topic, so that the
// receiver of a token cannot use it elsewhere. ClientWrapper asks it for a
// token for each service that is called; a program that sends tokens by hand
// calls TokenFor itself.
type Source interface {
	// TokenFor returns the own token for an audience: the name of a service, or
	// TopicAudience of a topic. The first call for an audience asks the issuer
	// and waits a few seconds at most; from then on the token is kept fresh in
	// the background for as long as it is used. It returns the errors of Token,
	// and ErrLimited when more than 1024 audiences are in use.
	TokenFor(audience string) (*Token, error)
}

// Exchanger is an Auth that exchanges the tokens of others (RFC 8693).
type Exchanger interface {
	// Exchange returns t if t is for the audience, else a token with which this
	// service acts at the audience for the account of t. t must be for this
	// service, or have been given to it. The result is kept until it expires:
	// only the first Exchange of t for an audience makes a call, and waits for
	// it until ctx ends, a few seconds at most. Without an access token in t it
	// returns ErrInvalid, after Stop ErrStopped.
	Exchange(ctx context.Context, t *Token, audience string) (*Token, error)
}

// Aimed is a Request that names the audience a token must have. The requests of
// the wrappers are Aimed, at the service that they decide for or at the topic.
// For any other Request the token must be for the service of the Auth; a token
// that was given to this service itself may also be for the service of the
// Request.
type Aimed interface {
	Request
	Audience() string
}
