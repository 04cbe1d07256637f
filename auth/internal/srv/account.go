package srv

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/micro/go-platform/auth/internal/policy"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/page"
	"github.com/micro/go-platform/internal/rpcerr"
)

// accountHandler is Account.
type accountHandler struct {
	*provider
	insecure bool
}

func wireRecord(a *account) *pb.Record {
	return &pb.Record{
		Id: a.id, Type: a.kind, ClientId: a.clientID, Metadata: a.metadata, Created: a.created, Updated: a.updated,
		Scopes: a.scopes, Roles: a.roles, RedirectUris: a.redirects, Disabled: a.disabled,
	}
}

// Create implements pb.AccountHandler.
func (h *accountHandler) Create(ctx context.Context, req *pb.CreateRequest, rsp *pb.CreateResponse) (err error) {
	if err := checkAccount(req.Account); err != nil {
		return refuse(err)
	}
	rsp.Account, err = h.create(ctx, req.Account)
	h.audit(ctx, "account created", req.Account.Id, err)
	return refuse(err)
}

// create makes an account that was checked and returns it with its secret.
func (h *accountHandler) create(ctx context.Context, r *pb.Record) (*pb.Record, error) {
	a, secret, err := newAccount(ctx, h.clients.hasher, r)
	if err != nil {
		return nil, err
	}
	if err := h.store.CreateAccount(ctx, a); err != nil {
		return nil, err
	}
	made := wireRecord(a)
	made.ClientSecret = secret
	return made, nil
}

// newAccount makes an account out of a record, with a new secret if it has none.
func newAccount(ctx context.Context, h *hasher, r *pb.Record) (a *account, secret string, err error) {
	if secret = r.ClientSecret; secret == "" {
		secret = newSecret()
		return accountWith(r, h.made(secret)), secret, nil
	}
	kept, err := h.hash(ctx, secret)
	return accountWith(r, kept), secret, err
}

func accountWith(r *pb.Record, kept string) *account {
	return &account{
		id: r.Id, clientID: r.ClientId, kind: r.Type, secret: kept, metadata: r.Metadata, scopes: r.Scopes, roles: r.Roles,
		// Tokens that an account of the same id had before it was deleted stay void.
		redirects: r.RedirectUris, disabled: r.Disabled, created: now(), updated: now(), validFrom: now() + 1,
	}
}

// Read implements pb.AccountHandler.
func (h *accountHandler) Read(ctx context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	c, known := callerClaims(ctx)
	if !h.insecure && (!known || c.Subject != req.Id && !c.has(ScopeAdmin)) {
		return refuse(fmt.Errorf("%w: reading another account needs the scope %q", rpcerr.ErrForbidden, ScopeAdmin))
	}
	a, err := h.store.Account(ctx, req.Id)
	if err != nil {
		return refuse(err)
	}
	rsp.Account = wireRecord(a)
	return nil
}

// Update implements pb.AccountHandler.
func (h *accountHandler) Update(ctx context.Context, req *pb.UpdateRequest, rsp *pb.UpdateResponse) error {
	if req.Account == nil || req.Account.Id == "" {
		return refuse(rpcerr.Invalid("account.id", "missing"))
	}
	if len(req.Fields) == 0 {
		return refuse(rpcerr.Invalid("fields", "none is named"))
	}
	for _, f := range req.Fields {
		if !slices.Contains([]string{"type", "client_secret", "metadata", "scopes", "roles", "redirect_uris", "disabled"}, f) {
			return refuse(rpcerr.Invalid("fields", "%.32q cannot be updated", f))
		}
	}
	if err := checkFields(req.Account, req.Fields); err != nil {
		return refuse(err)
	}
	kept := ""
	if slices.Contains(req.Fields, "client_secret") {
		if req.Account.ClientSecret == "" {
			return refuse(rpcerr.Invalid("account.client_secret", "missing"))
		}
		var err error
		if kept, err = h.clients.hasher.hash(ctx, req.Account.ClientSecret); err != nil {
			return refuse(err)
		}
	}
	a, err := h.store.UpdateAccount(ctx, req.Account.Id, h.feed.lastExpiry(time.Now()), func(a *account) error {
		edit(a, req, kept)
		return nil
	})
	if err != nil {
		return refuse(err)
	}
	h.audit(ctx, "account updated: "+strings.Join(req.Fields, ", "), req.Account.Id, nil)
	rsp.Account = wireRecord(a)
	return refuse(h.feed.refresh(ctx))
}

// edit applies the named fields. Whatever makes an account less than it was
// voids the tokens it has.
func edit(a *account, req *pb.UpdateRequest, secret string) {
	less := false
	lost := func(old, fresh []string) bool {
		return slices.ContainsFunc(old, func(s string) bool { return !slices.Contains(fresh, s) })
	}
	for _, field := range req.Fields {
		switch field {
		case "type":
			less = less || a.kind != req.Account.Type
			a.kind = req.Account.Type
		case "client_secret":
			less, a.secret = true, secret
		case "metadata":
			a.metadata = req.Account.Metadata
		case "scopes":
			less, a.scopes = less || lost(a.scopes, req.Account.Scopes), req.Account.Scopes
		case "roles":
			less, a.roles = less || lost(a.roles, req.Account.Roles), req.Account.Roles
		case "redirect_uris":
			a.redirects = req.Account.RedirectUris
		case "disabled":
			less, a.disabled = less || req.Account.Disabled, req.Account.Disabled
		}
	}
	a.updated = now()
	if less {
		a.validFrom = max(a.validFrom, now()) + 1 // later than any token it has: see mint
	}
}

// Delete implements pb.AccountHandler.
func (h *accountHandler) Delete(ctx context.Context, req *pb.DeleteRequest, _ *pb.DeleteResponse) error {
	if req.Id == "" {
		return refuse(rpcerr.Invalid("id", "missing"))
	}
	if err := h.store.DeleteAccount(ctx, req.Id, now()+1, h.feed.lastExpiry(time.Now())); err != nil {
		return refuse(err)
	}
	h.audit(ctx, "account deleted", req.Id, nil)
	return refuse(h.feed.refresh(ctx))
}

// Search implements pb.AccountHandler.
func (h *accountHandler) Search(ctx context.Context, req *pb.SearchRequest, rsp *pb.SearchResponse) error {
	if err := page.Check(&req.Limit, &req.Offset); err != nil {
		return refuse(err)
	}
	found, err := h.store.SearchAccounts(ctx, req.ClientId, req.Type, req.Limit, req.Offset)
	if err != nil {
		return refuse(err)
	}
	for _, a := range found {
		rsp.Accounts = append(rsp.Accounts, wireRecord(a))
	}
	rsp.Accounts = rsp.Accounts[:page.Fit(rsp.Accounts, len(rsp.Accounts))] // the next page begins where this one ends
	return nil
}

// enrollable returns the platform's services that may enrol: all but this one.
func enrollable() []string {
	return []string{"config", "db", "discovery", "event", "monitor", "router", "trace"}
}

// Enrol implements pb.AccountHandler. It does not limit wrong secrets: the
// right one cannot be guessed, and checking one costs nothing.
func (h *accountHandler) Enrol(ctx context.Context, req *pb.EnrolRequest, rsp *pb.EnrolResponse) error {
	want, err := h.store.Setting(ctx, settingBootstrap)
	if err != nil {
		return refuse(err)
	}
	if want == "" || subtle.ConstantTimeCompare([]byte(digest(req.Secret)), []byte(want)) != 1 {
		return refuse(fmt.Errorf("%w: wrong bootstrap secret", rpcerr.ErrUnauthenticated))
	}
	if short, ok := strings.CutPrefix(req.Id, policy.PlatformPrefix); !ok || !slices.Contains(enrollable(), short) {
		return refuse(rpcerr.Invalid("id", "want %s and one of %s", policy.PlatformPrefix, strings.Join(enrollable(), ", ")))
	}
	if req.ClientSecret != "" && !looksMade(req.ClientSecret) {
		return refuse(rpcerr.Invalid("client_secret", "not 32 bytes in base64url"))
	}
	rsp.Account, err = h.enrol(ctx, req.Id, cmp.Or(req.ClientSecret, newSecret()))
	h.audit(ctx, "account enrolled", req.Id, err)
	return refuse(err)
}

// enrol makes the account of a platform service, or returns the one that was made
// with the same secret.
func (h *accountHandler) enrol(ctx context.Context, id, secret string) (*pb.Record, error) {
	a := accountWith(&pb.Record{
		Id: id, ClientId: id, Type: "service", Scopes: []string{ScopeService}, Roles: []string{RolePlatform},
	}, h.clients.hasher.made(secret))
	err := h.store.CreateAccount(ctx, a)
	if errors.Is(err, rpcerr.ErrExists) {
		there, e := h.store.Account(ctx, id)
		if e != nil || there.disabled || !h.clients.hasher.isMade(there.secret, secret) {
			return nil, err
		}
		a, err = there, nil
	}
	if err != nil {
		return nil, err
	}
	r := wireRecord(a)
	r.ClientSecret = secret
	return r, nil
}

// audit logs the caller that changed an account, and its address. A change
// without a caller was made with the bootstrap secret.
func (h *accountHandler) audit(ctx context.Context, what, id string, err error) {
	by := "bootstrap"
	if c, ok := callerClaims(ctx); ok {
		by = c.Subject
	}
	if err != nil {
		h.feed.log.Warn("refused: an "+what, "account", id, "by", by, "from", peerHost(ctx), "error", err)
		return
	}
	h.feed.log.Info(what, "account", id, "by", by, "from", peerHost(ctx))
}

// RolePlatform is the role of platform services that enrolled, for policies.
const RolePlatform = policy.PlatformRole
