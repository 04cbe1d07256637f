package backend

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The account of the server that owns everything.
const postgresUser, postgresPassword = "postgres", "secret"

// Postgres returns a PostgreSQL server and, in its URL, a new empty database on it: every call has its own, also
// when the server is shared. What was committed outlives Kill and Restart.
func Postgres(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s := serve(tb, kind{
		name:     "postgres",
		debian:   "postgresql",
		ports:    usual(1),
		patience: 60 * time.Second,
		find:     postgresProgram,
		prepare:  initPostgres,
		command: func(p *place) []string {
			return append(notAsRoot(), p.bin, "-D", p.dir+"/data", "-p", p.port(0),
				"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200",
				// Written at commit and never synced: safe from a killed server, if not from a lost machine.
				"-c", "fsync=off", "-c", "full_page_writes=off")
		},
		quit: syscall.SIGINT, // SIGTERM waits for the clients to leave
		ready: func(ctx context.Context, p *place) error {
			return onPostgres(ctx, postgresURL(p.addr(0)), "SELECT 1")
		},
	}, opts)
	if s == nil {
		return nil
	}
	admin := postgresURL(s.Addr)
	if s.inst == nil {
		u, err := url.Parse(s.Addr)
		if err != nil {
			tb.Fatal("backend: GO_PLATFORM_POSTGRES is not a URL postgres://user:password@host:port/name")
		}
		admin, s.Addr = u, u.Host
	}
	s.URL = newPostgres(tb, admin, s.inst == nil || s.shared)
	return s
}

func postgresURL(addr string) *url.URL {
	return &url.URL{Scheme: "postgres", User: url.UserPassword(postgresUser, postgresPassword), Host: addr, Path: "/postgres"}
}

// postgresProgram finds the server where Debian keeps it, the newest version first.
func postgresProgram() (string, bool) {
	if found, err := exec.LookPath("postgres"); err == nil {
		return found, true
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", false
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // others are older than any
		return n
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), true
}

// notAsRoot is what a command line begins with so that it is run by another user than root, which PostgreSQL
// refuses to be. setpriv is told that the process ends with the tests: the kernel forgets it with the change of users.
func notAsRoot() []string {
	if os.Geteuid() != 0 {
		return nil
	}
	u := ordinaryUser()
	return []string{"setpriv", "--reuid=" + u.Uid, "--regid=" + u.Gid, "--clear-groups", "--pdeathsig=KILL", "--"}
}

func ordinaryUser() *user.User {
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return u
		}
	}
	return &user.User{Uid: "65534", Gid: "65534"}
}

func initPostgres(ctx context.Context, p *place) error {
	password := filepath.Join(p.dir, "password")
	if err := os.WriteFile(password, []byte(postgresPassword), 0o600); err != nil {
		return fmt.Errorf("write the password: %w", err)
	}
	if os.Geteuid() == 0 {
		if err := give(p.dir, ordinaryUser()); err != nil {
			return err
		}
	}
	argv := append(notAsRoot(), filepath.Join(filepath.Dir(p.bin), "initdb"), "-D", p.dir+"/data", "--username="+postgresUser,
		"--pwfile="+password, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// give makes the user the owner of a folder.
func give(dir string, u *user.User) error {
	uid, err := strconv.Atoi(u.Uid)
	gid, gerr := strconv.Atoi(u.Gid)
	if err := errors.Join(err, gerr); err != nil {
		return fmt.Errorf("the user %s: %w", u.Username, err)
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, gid)
	})
}

// newPostgres returns the URL of a new database; drop says that the server outlives the test.
func newPostgres(tb testing.TB, admin *url.URL, drop bool) string {
	tb.Helper()
	name := fmt.Sprintf("test_%016x", rand.Uint64())
	if err := onPostgres(tb.Context(), admin, "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("backend: postgres: %v", err)
	}
	if drop {
		tb.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
			defer cancel()
			if err := onPostgres(ctx, admin, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
				tb.Errorf("backend: postgres: %v", err)
			}
		})
	}
	own := *admin
	own.Path = "/" + name
	return own.String()
}

func onPostgres(ctx context.Context, at *url.URL, statement string) error {
	conn, err := pgx.Connect(ctx, at.String())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }() // the statement's own error says more
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
