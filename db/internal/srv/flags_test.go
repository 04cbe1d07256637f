package srv_test

import (
	"context"
	"strings"
	"testing"
	"time"

	dbsrv "github.com/micro/go-platform/db/internal/srv"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out, errs rpctest.Buffer
	code = daemon.Run(ctx, dbsrv.Service(), append([]string{"db-srv"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestHelp(t *testing.T) {
	code, out, _ := command(t, "--help")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{"--database NAME=URL", "--credential NAME=USER:PASSWORD", "--create_tables", "--events", "--discover", "--announce", "MICRO_DB_DATABASES"} {
		if !strings.Contains(out, want) {
			t.Errorf("--help does not mention %s:\n%s", want, out)
		}
	}
}

func TestTyposAreExplained(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--databse", "x=y"}, 2, "did you mean --database"},
		{[]string{"--database", "shop"}, 2, "want NAME="},
		{[]string{"--database", "sh-op=sqlite:///x"}, 2, "a name is not"},
		{[]string{"--database", "shop=oracle://u:hidden@h/x"}, 2, "unknown scheme"},
		{[]string{"--database", "shop=mysql://u:hidden%zz@h/x"}, 2, "not URL-encoded"},
		{[]string{"--database", "shop=mysql://u:p?hidden=1@h/x"}, 2, "no setting"},
		{[]string{"--database", "shop=mysql://u:p/hidden@h/x"}, 2, "database: want"},
		{[]string{"--database", "shop=mysql://u:p/hidden"}, 2, "not of the form host:port"},
		{[]string{"--database", "shop=cassandra://h/x;y"}, 2, "keyspace"},
		{[]string{"--database", "shop=cassandra://h/x?replica=2"}, 2, "no setting"},
		{[]string{"--database", "shop=cassandra://h/x?replicas=0"}, 2, "replicas"},
		{[]string{"--database", "shop=elasticsearch://h/x?tls=maybe"}, 2, "tls"},
		{[]string{"--database", "shop=elasticsearch:///x"}, 2, "host"},
		{[]string{"--database", "shop=sqlite:"}, 2, "no file"},
		{[]string{"--database", "shop=sqlite::memory:", "--database", "shop=sqlite::memory:"}, 2, "given twice"},
		{[]string{"--credential", "shop"}, 2, "want NAME="},
		{[]string{"--database", "shop=sqlite:///nowhere/at/all.db"}, 1, "open database shop"},
	} {
		code, _, errs := command(t, append([]string{"--insecure", "--registry", "memory", "--broker", "memory"}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%v: exit code %d, %q; want %d and %q", c.args, code, errs, c.code, c.want)
		}
		if strings.Contains(errs, "hidden") {
			t.Errorf("%v: the password is in %q", c.args, errs)
		}
	}
}

// The variable holds several, separated by spaces.
func TestDatabasesOfTheEnvironment(t *testing.T) {
	for databases, want := range map[string]string{
		"shop=sqlite::memory: logs=oracle://hidden@h/x":           "database logs: unknown scheme",
		"shop=sqlite::memory: logs=sqlite::memory: shop=sqlite:x": "database shop: given twice",
		"shop=sqlite::memory: logs=sqlite:///nowhere/at/all.db":   "open database logs",
	} {
		t.Setenv("MICRO_DB_DATABASES", databases)
		code, _, errs := command(t, "--insecure", "--registry", "memory", "--broker", "memory")
		if code == 0 || !strings.Contains(errs, want) || strings.Contains(errs, "hidden") {
			t.Errorf("%s: exit code %d, %q; want %q", databases, code, errs, want)
		}
	}
}
