package daemon_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestStrayLines(t *testing.T) {
	for level, library := range map[string]bool{"info": false, "debug": true} {
		t.Run(level, func(t *testing.T) {
			s := service(func(*daemon.Env) error {
				h := slog.Default().With("of", "library").Handler()
				for level, text := range map[slog.Level]string{slog.LevelInfo: "route", slog.LevelWarn: "bad request", slog.LevelError: "broken"} {
					if err := h.Handle(t.Context(), slog.NewRecord(time.Now(), level, text, 0)); err != nil {
						return err
					}
				}
				slog.Info("of ours")
				return nil
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var errs rpctest.Buffer
			done := make(chan int, 1)
			go func() {
				done <- daemon.Run(ctx, s, []string{"test-srv", "--registry", "memory", "--broker", "memory", "--insecure", "--log_level", level}, io.Discard, &errs)
			}()
			rpctest.Eventually(t, "it serves", func() bool { return strings.Contains(errs.String(), "msg=serving") })
			cancel()
			<-done
			out := errs.String()
			for text, want := range map[string]bool{"msg=route": library, `level=DEBUG msg="bad request" of=library`: library, "level=ERROR msg=broken": true, `level=INFO msg="of ours"`: true} {
				if strings.Contains(out, text) != want {
					t.Errorf("%s: want %t in\n%s", text, want, out)
				}
			}
		})
	}
}
