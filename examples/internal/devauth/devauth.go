// Package devauth gives the examples an account at auth-srv without a word of
// configuration: that of the environment, else the one which examples/platform
// left in a file. It is for development only.
package devauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/internal/atomicfile"
)

// The environment variables, and the file in the user's cache directory.
const (
	EnvID     = "GO_PLATFORM_AUTH_ID"
	EnvSecret = "GO_PLATFORM_AUTH_SECRET" //nolint:gosec // the name of a variable
	file      = "dev-credentials.json"
)

// Account is who a developer is.
type Account struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// Path returns where Save writes: beside the caches of this project.
func Path() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "go-platform", file), nil
}

// Load returns the account, one without an id if there is none.
func Load() (a Account, err error) {
	if id := os.Getenv(EnvID); id != "" {
		return Account{id, os.Getenv(EnvSecret)}, nil
	}
	path, err := Path()
	if err != nil {
		return a, err
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return a, nil
	case err != nil:
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// Save leaves the account for others of this user. Remove takes it away.
func Save(a Account) (remove func() error, err error) {
	path, err := Path()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(a)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = atomicfile.Write(path, data)
	}
	return func() error { return os.Remove(path) }, err
}

// Wrap returns c with the account's token on each call, or c itself when there
// is no account: then the services run with --insecure.
func Wrap(c client.Client) (_ client.Client, stop func() error, err error) {
	who, err := Load()
	if err != nil || who.ID == "" {
		return c, func() error { return nil }, err
	}
	a := auth.NewAuth(auth.Id(who.ID), auth.Secret(who.Secret), auth.Client(c))
	if err := a.Start(); err != nil {
		return nil, nil, err
	}
	return auth.ClientWrapper(a)(c), a.Stop, nil
}
