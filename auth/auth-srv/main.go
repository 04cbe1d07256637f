// Command auth-srv runs go.micro.srv.auth. See auth-srv --help.
package main

import (
	"log/slog"
	"os"

	"github.com/micro/go-platform/auth/srv"
)

func main() {
	// The OAuth library tells the default logger of every request it refuses.
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	os.Exit(srv.Main())
}
