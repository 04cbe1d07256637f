package srv_test

import (
	"net"
	"net/url"
	"strings"
	"testing"

	authsrv "github.com/micro/go-platform/auth/internal/srv"
)

// Whatever is taken as a redirect URI leads to one host over TLS, or to this
// machine, and cannot break out of a header or a Content-Security-Policy.
func FuzzRedirect(f *testing.F) {
	for _, seed := range []string{
		"https://app.example/callback", "http://127.0.0.1:9/x?y=z", "http://[::1]/", "https://a@b/", "https://a/#b", "javascript:alert(1)",
		"https://a;script-src *", "//evil.example", `https://evil\@app.example/`, "https://a\r\nb", "HTTP://localhost/", "https://%61pp/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if authsrv.FaultOfRedirect(text) != "" {
			return
		}
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		local := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()) != nil && net.ParseIP(u.Hostname()).IsLoopback()
		if u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && local) {
			t.Errorf("%q is taken", text)
		}
		if strings.ContainsAny(u.Scheme+u.Host, "; ,'\"\r\n\\<>") {
			t.Errorf("%q would break a policy", text)
		}
	})
}
