package srv

import (
	"context"
	"fmt"
	"time"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// account is who may have tokens.
type account struct {
	id, clientID string
	kind         string // "service" or "user"
	secret       string // as hasher made it
	metadata     map[string]string
	scopes       []string
	roles        []string
	redirects    []string
	disabled     bool
	created      int64 // seconds since 1970, as all below
	updated      int64
	validFrom    int64 // its tokens and grants issued before are void
}

// revocation ends tokens with the jti, or of the sid, or of the account that
// were issued before a second.
type revocation struct {
	jti, sid, account string
	before, expires   int64
	revision          uint64
}

// signingKey signs from starts on, until the key of the next slot does.
type signingKey struct {
	slot    int64
	kid     string
	private string // PKCS 8, PEM
	starts  time.Time
}

// grant is the family of the tokens that began with one code.
type grant struct {
	sid, account, client string // ids of accounts
	scopes               []string
	created, expires     int64
	revoked              bool
}

// code waits to be redeemed for the first tokens of a grant.
type code struct {
	hash, sid, redirect, challenge, nonce string
	expires                               int64
	redeemed                              bool
}

// changes are what happened since a revision. Rules and keys are nil unless
// they changed.
type changes struct {
	revision    uint64
	rules       *ruleChanges
	keys        []signingKey
	keysNew     bool
	revocations []revocation
}

// ruleChanges are the rules that changed, or all of them.
type ruleChanges struct {
	revision  uint64 // of the last change of a rule
	mark      string // of the last change
	forgotten uint64 // the last change that is not in any history
	whole     bool   // rules and history are all there are
	rules     []*pb.Rule
	history   []ruleChange // by rising revision
}

// ruleChange is one change of one rule.
type ruleChange struct {
	revision uint64
	id       string
	was      *pb.Rule // nil if it is new
	// mark tells this change from another of the same revision: a database that
	// was restored counts on from where it was.
	mark string
}

// savedDecisions are those that an account reported to an instance.
type savedDecisions struct {
	instance, reporter string
	decisions          []*pb.Decided
}

// errMoved is the error of a change that was decided on by rules that are not
// those of now.
var errMoved = fmt.Errorf("%w: the rules have changed", rpcerr.ErrConflict)

// Store keeps everything, for one or several instances of auth-srv. What a
// method changed is durable and visible to all instances when it returns.
// Errors wrap rpcerr's ErrNotFound, ErrExists and ErrConflict. It is safe for
// concurrent use.
type Store interface {
	CreateAccount(ctx context.Context, a *account) error
	Account(ctx context.Context, id string) (*account, error)
	AccountOfClient(ctx context.Context, clientID string) (*account, error)
	// UpdateAccount edits an account in a transaction. If edit moves validFrom,
	// the tokens that the account has, and those given to others through it,
	// are revoked; none of them lives on beyond expires.
	UpdateAccount(ctx context.Context, id string, expires int64, edit func(*account) error) (*account, error)
	DeleteAccount(ctx context.Context, id string, before, expires int64) error
	SearchAccounts(ctx context.Context, clientID, kind string, limit, offset int64) ([]*account, error)

	// PutRule makes a rule, or with update replaces it, if its revision is 0 or
	// that of the rule that is there. It sets r's revision. It fails with errMoved
	// unless the last change of a rule has the revision at. What it costs hardly
	// depends on how many rules there are.
	PutRule(ctx context.Context, r *pb.Rule, update bool, at uint64) error
	DeleteRule(ctx context.Context, id string, at uint64) error

	Revoke(ctx context.Context, rs ...revocation) error
	// AddKey fails with ErrExists when another instance was faster.
	AddKey(ctx context.Context, k signingKey) error
	DropKeys(ctx context.Context, below int64) error
	// Changes tells what changed after a revision.
	Changes(ctx context.Context, since uint64) (*changes, error)

	// CreateGrant begins a family with a code.
	CreateGrant(ctx context.Context, g *grant, c *code) error
	Code(ctx context.Context, hash string) (*code, *grant, error)
	// Redeem marks a code and adds the family's first refresh token. It fails
	// with ErrConflict when the code was redeemed before.
	Redeem(ctx context.Context, hash, refresh string, now time.Time) error
	// Grant returns the family of a refresh token.
	Grant(ctx context.Context, refresh string) (*grant, error)
	// Rotate replaces a refresh token by another. An old one may be replaced
	// again within grace of its first use, later on it is ErrConflict.
	Rotate(ctx context.Context, old, fresh string, now time.Time, grace time.Duration) error

	// Prove notes that a client knew its secret at a place.
	Prove(ctx context.Context, place string, at time.Time) error
	// Proven reports whether Prove was called for the place since then.
	Proven(ctx context.Context, place string, since time.Time) (bool, error)

	// SaveDecisions replaces what an instance knows of those who reported to it.
	SaveDecisions(ctx context.Context, instance string, by map[string][]*pb.Decided, now time.Time) error
	// Decisions returns what other instances saved since.
	Decisions(ctx context.Context, instance string, since time.Time) ([]savedDecisions, error)

	// Setting returns "" when there is none.
	Setting(ctx context.Context, name string) (string, error)
	// Begin makes the first account, settings and rules, once: later on it is
	// ErrExists.
	Begin(ctx context.Context, admin *account, settings map[string]string, rules []*pb.Rule) error
	// Prune removes what expired before now.
	Prune(ctx context.Context, now time.Time) error
}
