package srv

import (
	"encoding/json"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/micro/go-platform/internal/daemon"
)

// Bounds of the HTTP face.
const (
	maxBody      = 64 << 10
	maxHeader    = 16 << 10
	readTimeout  = 10 * time.Second
	writeTimeout = 20 * time.Second
	idleTimeout  = time.Minute
)

// handler returns the OAuth server over HTTP. The RPC face calls it in process.
func (p *provider) handler() http.Handler {
	return op.RegisterServer(p, endpoints(), op.WithServerCORSOptions(nil), op.WithSetRouter(func(r chi.Router) {
		r.Get(pathOAuthMeta, p.oauthMetadata)
	}))
}

// oauthMetadata is what Discovery tells, at the place of RFC 8414.
func (p *provider) oauthMetadata(w http.ResponseWriter, r *http.Request) {
	d, err := p.Discovery(r.Context(), nil)
	if err != nil {
		op.WriteError(w, r, err, nil)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(d.Data) // the client went away
}

// face is what outsiders reach: the provider and the login page behind checks
// that hold for all paths.
func (p *provider) face(oauth http.Handler) http.Handler {
	mux := http.NewServeMux()
	login := &loginPage{p}
	mux.Handle("GET "+pathLogin, http.HandlerFunc(login.show))
	mux.Handle("POST "+pathLogin, http.NewCrossOriginProtection().Handler(http.HandlerFunc(login.submit)))
	for _, path := range []string{pathToken, pathIntrospect, pathRevoke} {
		mux.Handle(path, formOnly(oauth))
	}
	mux.Handle("GET "+pathAuthorize, oauth)
	mux.Handle("GET "+pathKeys, oauth)
	mux.Handle("GET /.well-known/", oauth)
	return guarded(mux)
}

// guarded sets the headers that every answer has, bounds the request, and
// tells the provider who calls.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		r = r.WithContext(withCaller(r.Context(), caller{peer: peerOf(r.RemoteAddr), at: time.Now()}))
		if err := r.ParseForm(); err != nil {
			refuseForm(w, r, "malformed or too large")
			return
		}
		for name, values := range r.Form {
			if len(values) > 1 && name != "audience" && name != "resource" {
				refuseForm(w, r, "a parameter comes more than once") // RFC 6749, section 3.1
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// formOnly wants a form in the body: what stands in a URL is logged everywhere.
func formOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "POST a form", http.StatusMethodNotAllowed)
			return
		}
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
			refuseForm(w, r, "want application/x-www-form-urlencoded in the body, and nothing in the URL")
			return
		}
		if _, _, basic := r.BasicAuth(); basic { // RFC 6749, section 5.2
			w = &challenger{w}
		}
		next.ServeHTTP(w, r)
	})
}

func refuseForm(w http.ResponseWriter, r *http.Request, why string) {
	op.WriteError(w, r, oidc.ErrInvalidRequest().WithDescription("%s", why), nil)
}

// challenger adds what a 401 must say.
type challenger struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (c *challenger) WriteHeader(status int) {
	if status == http.StatusUnauthorized {
		c.Header().Set("WWW-Authenticate", `Basic realm="go-platform"`)
	}
	c.ResponseWriter.WriteHeader(status)
}

// peerOf names who is behind an address: IPv6 gives a host 2^64 of them.
func peerOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return host
}

// web is the HTTP server.
type web struct {
	server   *http.Server
	listener net.Listener
	done     chan error
}

func serveWeb(env *daemon.Env, listener net.Listener, h http.Handler, read time.Duration) *web {
	w := &web{
		server: &http.Server{
			Handler: h, ReadTimeout: read, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		},
		done: make(chan error, 1),
	}
	w.listener = env.Web(w.server, listener)
	go func() { w.done <- w.server.Serve(w.listener) }()
	return w
}

// reachable tells how to reach an address that may be of all interfaces.
func reachable(address, scheme string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return scheme + "://" + address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s://%s:%s", scheme, host, port)
}
