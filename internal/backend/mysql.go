package backend

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// MySQL returns a MariaDB server and, in its DSN, a new empty database on it: every call has its own, also
// when the server is shared. The DSN parses times. What was committed outlives Kill and Restart.
func MySQL(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s := serve(tb, kind{
		name:     "mysql",
		debian:   "mariadb-server",
		ports:    usual(1),
		patience: 60 * time.Second,
		find:     program("mariadbd"),
		prepare:  installDB,
		command:  mysqlCommand,
		ready: func(ctx context.Context, p *place) error {
			return onMySQL(ctx, rootOn(p.addr(0)), "SELECT 1")
		},
	}, opts)
	if s == nil {
		return nil
	}
	cfg := rootOn(s.Addr)
	if s.inst == nil {
		var err error
		if cfg, err = mysql.ParseDSN(s.Addr); err != nil {
			tb.Fatalf("backend: the DSN in GO_PLATFORM_MYSQL: %v", err)
		}
		s.Addr = cfg.Addr
	}
	s.DSN = newDatabase(tb, cfg, s.inst == nil || s.shared)
	return s
}

func mysqlCommand(p *place) []string {
	return append([]string{p.bin, "--no-defaults"}, append(asCurrentUser(),
		"--datadir="+p.dir+"/data", "--tmpdir="+p.dir, "--socket="+p.dir+"/sock", "--pid-file="+p.dir+"/pid",
		"--bind-address=127.0.0.1", "--port="+p.port(0), "--skip-name-resolve",
		"--character-set-server=utf8mb4", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M",
		// Written at commit and synced later: safe from a killed server, if not from a lost machine.
		"--innodb-flush-log-at-trx-commit=2",
	)...)
}

func installDB(ctx context.Context, p *place) error {
	install, ok := program("mariadb-install-db", "mysql_install_db")()
	if !ok {
		return fmt.Errorf("mariadb-install-db is not beside %s", p.bin)
	}
	cmd := exec.CommandContext(ctx, install, append([]string{"--no-defaults"}, append(asCurrentUser(),
		// Several installations at once are not safe with one directory for temporary tables.
		"--datadir="+p.dir+"/data", "--tmpdir="+p.dir, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--innodb-log-file-size=8M",
	)...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(install), err, out)
	}
	return nil
}

// MariaDB refuses to be root unless told to be.
func asCurrentUser() []string {
	if os.Geteuid() != 0 {
		return nil
	}
	if u, err := user.Current(); err == nil {
		return []string{"--user=" + u.Username}
	}
	return []string{"--user=root"}
}

func rootOn(addr string) *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.ParseTime = "root", "tcp", addr, true
	cfg.Logger = &mysql.NopLogger{} // a server that is not up yet is not news
	return cfg
}

// newDatabase returns the DSN of a new database; drop says that the server outlives the test.
func newDatabase(tb testing.TB, cfg *mysql.Config, drop bool) string {
	tb.Helper()
	name := fmt.Sprintf("test_%016x", rand.Uint64())
	if err := onMySQL(tb.Context(), cfg, "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("backend: mysql: %v", err)
	}
	if drop {
		tb.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
			defer cancel()
			if err := onMySQL(ctx, cfg, "DROP DATABASE "+name); err != nil {
				tb.Errorf("backend: mysql: %v", err)
			}
		})
	}
	own := cfg.Clone()
	own.DBName = name
	return own.FormatDSN()
}

func onMySQL(ctx context.Context, cfg *mysql.Config, statement string) error {
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }() // the statement's own error says more
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
