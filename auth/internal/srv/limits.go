package srv

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/micro/go-platform/auth"
	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/rpcerr"
)

// What an account may hold, in bytes unless said otherwise. A token carries the
// metadata, scopes and roles of its account, and go-micro's 8 KB of metadata
// carry the token.
const (
	maxID           = 128
	minSecret       = 8
	maxSecret       = 1 << 10
	maxMetadata     = 2 << 10
	maxMetadataKeys = 64
	maxRequest      = 1 << 10
	maxRequestKeys  = 16
	maxNames        = 64 // scopes, and roles
	maxNamesBytes   = 1 << 10
	maxRedirects    = 16
	maxRedirect     = 512
)

// checkAccount refuses what an account cannot be, and fills in its ids.
func checkAccount(r *pb.Record) error {
	if r == nil {
		return rpcerr.Invalid("account", "missing")
	}
	if r.Id == "" {
		r.Id = uuid.NewString()
	}
	if r.ClientId == "" {
		r.ClientId = r.Id
	}
	switch {
	case !identifier(r.Id):
		return rpcerr.Invalid("account.id", "not 1 to %d letters, digits and . _ - @ /", maxID)
	case !identifier(r.ClientId):
		return rpcerr.Invalid("account.client_id", "not 1 to %d letters, digits and . _ - @ /", maxID)
	case r.Id == auth.ServiceName || r.ClientId == auth.ServiceName:
		return rpcerr.Invalid("account.id", "%s is this service itself", auth.ServiceName)
	}
	return checkFields(r, nil)
}

// checkFields checks those fields that can be updated, all when none is named.
func checkFields(r *pb.Record, fields []string) error {
	for _, c := range []struct {
		field string
		check func(*pb.Record) error
	}{
		{"type", checkType}, {"client_secret", checkSecret},
		{"metadata", func(r *pb.Record) error { return checkAccountMetadata(r.Metadata) }},
		{"scopes", func(r *pb.Record) error { return checkNames("account.scopes", r.Scopes) }},
		{"roles", func(r *pb.Record) error { return checkNames("account.roles", r.Roles) }},
		{"redirect_uris", func(r *pb.Record) error { return checkRedirects(r.RedirectUris) }},
	} {
		if fields != nil && !slices.Contains(fields, c.field) {
			continue
		}
		if err := c.check(r); err != nil {
			return err
		}
	}
	return nil
}

func identifier(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for _, c := range s {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("._-@/", c):
		default:
			return false
		}
	}
	return true
}

func checkType(r *pb.Record) error {
	if r.Type != "service" && r.Type != "user" {
		return rpcerr.Invalid("account.type", `%.20q is neither "service" nor "user"`, r.Type)
	}
	return nil
}

// checkSecret allows none: then one is made.
func checkSecret(r *pb.Record) error {
	if n := len(r.ClientSecret); n > 0 && (n < minSecret || n > maxSecret || !utf8.ValidString(r.ClientSecret)) {
		return rpcerr.Invalid("account.client_secret", "not %d to %d bytes of UTF-8", minSecret, maxSecret)
	}
	return nil
}

func checkAccountMetadata(m map[string]string) error {
	for k := range m {
		if strings.HasPrefix(k, requestPrefix) {
			return rpcerr.Invalid("account.metadata", "keys must not begin with %q", requestPrefix)
		}
	}
	return checkPairs("account.metadata", m, maxMetadataKeys, maxMetadata)
}

func checkPairs(field string, m map[string]string, keys, bytes int) error {
	for k, v := range m {
		if !clean.Name(k, 256) || v != "" && !clean.Name(v, bytes) {
			return rpcerr.Invalid(field, "keys and values must be printable")
		}
	}
	if len(m) > keys || len(encode(m)) > bytes {
		return rpcerr.Invalid(field, "more than %d keys, or %d bytes of JSON", keys, bytes)
	}
	return nil
}

// checkNames wants the characters of RFC 6749, appendix A.4, for scopes. Roles
// have the same.
func checkNames(field string, names []string) error {
	for i, n := range names {
		if n == "" || len(n) > maxID || strings.ContainsFunc(n, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) {
			return rpcerr.Invalid(field, "each must be 1 to %d characters of ASCII without space, quote and backslash", maxID)
		}
		if strings.Contains(n, "*") {
			return rpcerr.Invalid(field, "%q: patterns are for policies", n)
		}
		if slices.Contains(names[:i], n) {
			return rpcerr.Invalid(field, "%q twice", n)
		}
	}
	if len(names) > maxNames || len(encode(names)) > maxNamesBytes {
		return rpcerr.Invalid(field, "more than %d, or %d bytes of JSON", maxNames, maxNamesBytes)
	}
	return nil
}

func checkRedirects(uris []string) error {
	if len(uris) > maxRedirects {
		return rpcerr.Invalid("account.redirect_uris", "more than %d", maxRedirects)
	}
	for _, u := range uris {
		if why := faultOfRedirect(u); why != "" {
			return rpcerr.Invalid("account.redirect_uris", "%.64q %s", u, why)
		}
	}
	return nil
}

// faultOfRedirect allows https to anywhere and http to this machine.
func faultOfRedirect(text string) string {
	if len(text) > maxRedirect || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`"'<>\;,`, c) }) {
		return fmt.Sprintf("is longer than %d bytes or has characters that a URL cannot", maxRedirect)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return "is not an absolute URL"
	case u.User != nil:
		return "names a user"
	case u.Fragment != "" || strings.Contains(text, "#"):
		return "has a fragment"
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return ""
	}
	return "is neither https nor http to localhost"
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
