package srv

import (
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/micro/go-platform/internal/rpcerr"
)

//go:embed login.html
var loginHTML string

// The page's only style, which the Content-Security-Policy names by its hash.
const loginStyle = `body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:4rem auto;padding:0 1rem}input{display:block;width:100%;box-sizing:border-box;margin:.2rem 0 1rem;padding:.5rem;font:inherit}button{padding:.5rem 1rem;font:inherit}.error{color:#b00020}code{word-break:break-all}`

// loginPage asks the user to log in and to agree, each time: there are no
// sessions that another page could use.
type loginPage struct{ *provider }

type loginView struct {
	Style              template.CSS
	Client, Host, Name string
	Scopes             []string
	Request, CSRF      string
	Error              string
}

// The cookie binds a form to the browser it was made for.
const loginCookie = "go-platform-login"

// request reads the authorization request that the page is for.
func (l *loginPage) request(r *http.Request) (*asked, *account, error) {
	want := &asked{}
	if err := l.feed.now.Load().keys.open(r.FormValue("request"), askedType, want); err != nil || want.Expires < time.Now().Unix() {
		return nil, nil, errToken
	}
	a, err := l.store.Account(r.Context(), want.Client)
	if err == nil && a.disabled {
		err = rpcerr.ErrNotFound
	}
	return want, a, err
}

func (l *loginPage) show(w http.ResponseWriter, r *http.Request) {
	want, a, err := l.request(r)
	if err != nil {
		http.Error(w, "This login has expired. Go back to where you came from and try again.", http.StatusBadRequest)
		return
	}
	l.render(w, r, want, a, http.StatusOK, "")
}

func (l *loginPage) render(w http.ResponseWriter, r *http.Request, want *asked, a *account, status int, problem string) {
	target, err := url.Parse(want.Redirect)
	if err != nil {
		http.Error(w, "bad redirect URI", http.StatusInternalServerError)
		return
	}
	view := loginView{
		Style: template.CSS(loginStyle), Client: a.clientID, Host: target.Host, Scopes: want.Scopes,
		Request: r.FormValue("request"), CSRF: newSecret(), Name: r.PostFormValue("name"), Error: problem,
	}
	http.SetCookie(w, &http.Cookie{
		Name: loginCookie, Value: view.CSRF, Path: pathLogin, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: l.settings.secure(), MaxAge: int(loginTTL.Seconds()),
	})
	sum := sha256.Sum256([]byte(loginStyle))
	w.Header().Set("Content-Security-Policy", fmt.Sprintf(
		"default-src 'none'; style-src 'sha256-%s'; frame-ancestors 'none'; base-uri 'none'; form-action 'self' %s://%s",
		base64.StdEncoding.EncodeToString(sum[:]), target.Scheme, target.Host))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	page := template.Must(template.New("login").Parse(loginHTML))
	_ = page.Execute(w, view) // the client went away
}

func (l *loginPage) submit(w http.ResponseWriter, r *http.Request) {
	want, a, err := l.request(r)
	cookie, cerr := r.Cookie(loginCookie)
	if err != nil || cerr != nil || subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(r.PostFormValue("csrf"))) != 1 {
		http.Error(w, "This login has expired. Go back to where you came from and try again.", http.StatusBadRequest)
		return
	}
	if r.PostFormValue("decision") != "allow" {
		l.redirect(w, r, want, url.Values{"error": {"access_denied"}})
		return
	}
	user, err := l.clients.check(r.Context(), callerOf(r.Context()).peer, r.PostFormValue("name"), r.PostFormValue("secret"))
	if err == nil && user.kind != "user" {
		err = errSecret
	}
	switch {
	case errors.Is(err, rpcerr.ErrLimited):
		l.render(w, r, want, a, http.StatusTooManyRequests, "Too many tries. Wait a minute.")
	case errors.Is(err, rpcerr.ErrUnauthenticated):
		l.render(w, r, want, a, http.StatusUnauthorized, "Wrong name or secret.")
	case err != nil:
		l.feed.log.Error("cannot check a login", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
	default:
		l.allow(w, r, want, a, user)
	}
}

func (l *loginPage) allow(w http.ResponseWriter, r *http.Request, want *asked, a, user *account) {
	to, err := l.issueCode(r.Context(), want, a, user)
	if err != nil {
		l.redirect(w, r, want, errorParams(err))
		return
	}
	http.Redirect(w, r, to.URL, http.StatusSeeOther)
}

func (l *loginPage) redirect(w http.ResponseWriter, r *http.Request, want *asked, params url.Values) {
	to, err := l.back(want, params)
	if err != nil {
		http.Error(w, "bad redirect URI", http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, to.URL, http.StatusSeeOther)
}
