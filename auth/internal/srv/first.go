package srv

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/atomicfile"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpcerr"
)

// The files of a first start, in the data directory. Their first line is a secret,
// their mode is 0600.
const (
	// AdminFile is of the account "admin".
	AdminFile = "auth-admin"
	// BootstrapFile is what Account.Enrol wants.
	BootstrapFile = daemon.BootstrapFile
)

// AdminID is the account, and the client id, that a first start makes.
const AdminID = "admin"

// The settings that a first start makes.
const (
	settingBootstrap = "bootstrap"
	settingIdentity  = "identity" // the key that this service is known by, PKCS 8, PEM
	settingSecrets   = "secrets"  // the key of hasher
)

// first is what a first start needs.
type first struct {
	dir       string // "": no files
	admin     string // secrets; "": made
	bootstrap string
	out       io.Writer // where the admin's secret is printed, once
	secretly  bool      // but for the secret itself, when it is in a file
}

// begin makes the admin's account and the bootstrap secret, if nobody did. The
// files are written first: a crash in between begins again, and never leaves
// an account whose secret nobody knows.
func (f first) begin(ctx context.Context, s Store, h *hasher) error {
	if done, err := s.Setting(ctx, settingBootstrap); err != nil || done != "" {
		return err
	}
	secrets := newSecret()
	h.key = []byte(secrets)
	admin, secret, err := newAccount(ctx, h, &pb.Record{
		Id: AdminID, ClientId: AdminID, Type: "user", ClientSecret: f.admin, Scopes: []string{ScopeAdmin}, Roles: []string{ScopeAdmin},
	})
	if err != nil {
		return err
	}
	f.admin = secret
	if f.bootstrap == "" {
		f.bootstrap = newSecret()
	}
	key, err := newPrivateKey()
	if err != nil {
		return err
	}
	undo, err := f.write(key)
	if err != nil {
		return errors.Join(err, undo())
	}
	err = s.Begin(ctx, admin, map[string]string{settingBootstrap: digest(f.bootstrap), settingIdentity: key, settingSecrets: secrets}, startingRules())
	if err != nil {
		// Without an answer it may have begun all the same.
		begun, unknown := began(ctx, s, key)
		switch {
		case unknown != nil:
			return fmt.Errorf("%w; whether it has begun is not known, the files stay: %w", err, unknown)
		case !begun && errors.Is(err, rpcerr.ErrExists): // another instance was faster
			return undo()
		case !begun:
			return errors.Join(err, undo())
		}
	}
	f.tell()
	return nil
}

// began reports whether the first start with this key is in the store. It asks even
// when ctx is over.
func began(ctx context.Context, s Store, key string) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), beganTimeout)
	defer cancel()
	is, err := s.Setting(ctx, settingIdentity)
	return is == key, err
}

const beganTimeout = 5 * time.Second

func (f first) tell() {
	if f.out == nil {
		return
	}
	if f.secretly && f.dir != "" {
		fmt.Fprintf(f.out, "First start. The account %q may do everything here; its secret is in %s, what platform services enrol with in %s.\n",
			AdminID, filepath.Join(f.dir, AdminFile), filepath.Join(f.dir, BootstrapFile))
		return
	}
	fmt.Fprintf(f.out, "\nFirst start. The account %q may do everything here; its secret is shown this once:\n\n    %s\n\n", AdminID, f.admin)
	if f.dir != "" {
		fmt.Fprintf(f.out, "It is also in %s, and what platform services enrol with in %s.\n\n",
			filepath.Join(f.dir, AdminFile), filepath.Join(f.dir, BootstrapFile))
	}
}

// write leaves the secrets in files and returns what removes these.
func (f first) write(key string) (undo func() error, err error) {
	if f.dir == "" {
		return func() error { return nil }, nil
	}
	admin, bootstrap := filepath.Join(f.dir, AdminFile), filepath.Join(f.dir, BootstrapFile)
	undo = func() error { return errors.Join(remove(admin), remove(bootstrap)) }
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return undo, fmt.Errorf("data directory: %w", err)
	}
	_, fingerprint, err := identityOf(key)
	if err != nil {
		return undo, err
	}
	return undo, errors.Join(writeSecret(admin, f.admin+"\n"), writeSecret(bootstrap, daemon.Bootstrap(f.bootstrap, fingerprint)))
}

// identityOf returns the certificate by which this service proves its identity,
// and the fingerprint.
func identityOf(key string) (tls.Certificate, string, error) {
	private, err := parseKey(key)
	if err != nil {
		return tls.Certificate{}, "", fmt.Errorf("identity: %w", err)
	}
	return daemon.Certify(private)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// writeSecret replaces a file by one that nobody else could ever read.
func writeSecret(path, text string) error {
	if err := atomicfile.Write(path, []byte(text)); err != nil {
		return fmt.Errorf("leave a secret: %w", err)
	}
	return nil
}
