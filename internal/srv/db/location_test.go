package dbsrv

import (
	"strings"
	"testing"

	"github.com/micro/go-platform/db"
)

// FuzzLocation checks that no error repeats a password, and that what is put
// into statements and paths is clean.
func FuzzLocation(f *testing.F) {
	for _, url := range []string{
		"sqlite:///x", "mysql://u:p@h:3306/x?tls=true", "cassandra://u:p@h,h2:9042/k?replicas=3", "elasticsearch://[::1]:9200/p",
		"mysql://u:p%zz@h/x", "cassandra://h/k;x", "elasticsearch://h:1/../_all", "mysql://@/", "://", "opensearch://a@b@c/d",
	} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		l, _, err := parseLocation("shop", strings.Replace(url, "@", "S3CR3T@", 1))
		if err != nil {
			if strings.Contains(err.Error(), "S3CR3T") {
				t.Errorf("the password is in %v", err)
			}
			return
		}
		if l.driver == sqliteDriver {
			return
		}
		if l.driver != mysqlDriver && !db.ValidName(l.database) {
			t.Errorf("%q got through", l.database)
		}
		for _, host := range l.hosts {
			if strings.ContainsAny(host, "/?# @") {
				t.Errorf("host %q got through", host)
			}
		}
	})
}
