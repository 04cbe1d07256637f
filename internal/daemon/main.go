package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/lifecycle"
)

// StartTimeout bounds a start, registration and migrations included, beside the
// wait for a database.
const StartTimeout = time.Minute

// DefaultDatabaseWait is how long a start waits for a database that is away.
const DefaultDatabaseWait = 10 * time.Minute

// Main runs the service until SIGINT or SIGTERM and returns the exit code: 0
// after a clean stop, 1 after an error, 2 for wrong usage.
func Main(b Bootable) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	outliveReaders()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return Run(ctx, b, os.Args, os.Stdout, os.Stderr)
}

// Run is Main with everything around it given; the service runs until ctx
// ends.
func Run(ctx context.Context, b Bootable, args []string, stdout, stderr io.Writer) int {
	s := b.service()
	var f flags
	var failed error
	app := &cli.App{
		Name:            shortName(s.Name),
		Usage:           s.Usage,
		Version:         version(),
		Description:     description,
		Flags:           append(f.common(s), s.Flags...),
		HideHelpCommand: true,
		Suggest:         true,
		Writer:          stdout,
		ErrWriter:       stderr,
		ExitErrHandler:  func(*cli.Context, error) {},
		OnUsageError: func(c *cli.Context, err error, _ bool) error {
			return usageError{withSuggestion(c.App.Flags, err)}
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usageError{fmt.Errorf("unexpected argument %q: every setting is a flag", c.Args().First())}
			}
			failed = f.serve(c.Context, s, stderr)
			return failed
		},
	}
	err := app.RunContext(ctx, args)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s: %v\nsee %s --help\n", app.Name, clean.URLError(err), app.Name)
		return 2
	default:
		fmt.Fprintf(stderr, "%s: %v\n", app.Name, clean.URLError(err))
		return 1
	}
}

func (f *flags) serve(ctx context.Context, s Service, stderr io.Writer) error {
	c, err := f.config(s, stderr)
	if err != nil {
		return err
	}
	defer takeStrays(c.Logger)()
	starting, cancel := context.WithTimeout(ctx, StartTimeout+f.databaseWait)
	defer cancel()
	running, err := Start(starting, s, c)
	if err != nil {
		return err
	}
	c.Logger.Info("serving", "service", s.Name, "address", running.Address(), "admin", running.AdminAddress())
	<-ctx.Done()
	c.Logger.Info("stopping", "service", s.Name)
	lost, other := lifecycle.Split(errors.Join(running.Stop(), stopRegistry(c.Registry)))
	if lost != nil {
		c.Logger.Warn("stopped, and something is lost", "service", s.Name, "error", clean.URLError(lost))
	}
	return other
}

// stopRegistry ends the background work of registries that have any.
func stopRegistry(r registry.Registry) error {
	if s, ok := r.(interface{ Stop() error }); ok {
		return s.Stop()
	}
	return nil
}

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// shortName turns "go.micro.srv.trace" into "trace-srv".
func shortName(service string) string {
	return service[strings.LastIndex(service, ".")+1:] + "-srv"
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// withSuggestion adds the nearest flag to "flag provided but not defined".
func withSuggestion(all []cli.Flag, err error) error {
	const undefined = "flag provided but not defined: -"
	wrong, ok := strings.CutPrefix(err.Error(), undefined)
	if !ok {
		return err
	}
	wrong = strings.TrimPrefix(wrong, "-")
	var names []string
	for _, f := range all {
		names = append(names, f.Names()[0])
	}
	return fmt.Errorf("unknown flag --%s%s", wrong, didYouMean(wrong, names, "--"))
}

// didYouMean returns ", did you mean X?" for the nearest candidate.
func didYouMean(wrong string, candidates []string, prefix string) string {
	best, nearest := 0.0, ""
	for _, c := range candidates {
		if d := smetrics.JaroWinkler(wrong, c, 0.7, 4); d > best {
			best, nearest = d, c
		}
	}
	if best < 0.7 {
		return ""
	}
	return fmt.Sprintf(", did you mean %s%s?", prefix, nearest)
}

func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, choiceError("log_level", level, []string{"debug", "info", "warn", "error"})
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}

// choiceError says what a flag of few values takes.
func choiceError(flag, got string, choices []string) error {
	return usageError{fmt.Errorf("--%s %q: want one of %s%s", flag, got,
		strings.Join(choices, ", "), didYouMean(got, choices, ""))}
}
