package srv

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/micro/go-platform/db"
)

// FuzzLocation checks that nothing of a password is in an error or at the
// registry, whatever characters of URLs it has in it, and that what is put into
// statements and paths is clean.
func FuzzLocation(f *testing.F) {
	for _, url := range []string{
		"sqlite:///x", "mysql://u:p@h:3306/x?tls=true", "postgres://u:p@h,h2:5433/x", "cassandra://u:p@h,h2:9042/k?replicas=3", "elasticsearch://[::1]:9200/p",
		"mysql://u:p%zz@h/x", "cassandra://h/k;x", "elasticsearch://h:1/../_all", "mysql://@/", "://", "opensearch://a@b@c/d",
		"mysql://u:p?@h/x", "mysql://shop:pa/ss+w0rd@10.0.0.5/shop", "mysql://shop:12/ss@10.0.0.5/shop", "mysql://u:p#@h/x", "mysql://u:p?x=y&tls=@h/x",
		"cassandra://u:p,@h/x", "mysql://u:p@h:http/x", "mysql://u:p@h:70000/x",
	} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		url = strings.ReplaceAll(url, "@", secret+"@") // all that is before one may be a password
		l, _, err := parseLocation("shop", url)
		if err != nil {
			clean(t, "the error", err.Error())
			return
		}
		if l.driver != sqliteDriver {
			valid(t, l)
		}
		s := l.toRegistry("shop", "id", "127.0.0.1:1")
		for _, n := range s.Nodes {
			clean(t, "a node's id", n.Id)
			clean(t, "a node's address", n.Address)
			for key, value := range n.Metadata {
				clean(t, key, value)
			}
		}
	})
}

const secret = "S3CR3T"

func clean(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(text, secret) {
		t.Errorf("the password is in %s: %s", what, text)
	}
}

func valid(t *testing.T, l location) {
	t.Helper()
	if !l.onSQLServer() && !db.ValidName(l.database) || strings.ContainsAny(l.database, "@/?#:;'`\" ") || l.database == "" {
		t.Errorf("database %q got through", l.database)
	}
	for _, host := range l.hosts {
		name, port, err := net.SplitHostPort(host)
		if _, perr := strconv.Atoi(port); err != nil || perr != nil || name == "" || strings.ContainsAny(name, "@/?#;'\" ") {
			t.Errorf("host %q got through", host)
		}
	}
	if l.path != "" || l.replicas < 0 || l.replicas > 100 {
		t.Errorf("%+v got through", l)
	}
}
