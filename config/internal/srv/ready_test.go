package srv_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/micro/go-platform/config"
	configsrv "github.com/micro/go-platform/config/internal/srv"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// TestWritesThatFailAreInReadiness, and it comes back without a writer.
func TestWritesThatFailAreInReadiness(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.db")
	net := rpctest.New(t)
	running := net.Boot(configsrv.Service(), func(c *daemon.Config) { c.DatabaseURL, c.AdminAddr = "sqlite://"+file, "127.0.0.1:0" })
	w := &world{net, pb.NewConfigService(config.ServiceName, net.Client(rpctest.GRPC)), t}
	w.create("a:b", `{"n":1}`)
	ready := func() int {
		rsp, err := http.Get("http://" + running.AdminAddress() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = rsp.Body.Close() // the code tells
		http.DefaultClient.CloseIdleConnections()
		return rsp.StatusCode
	}
	rpctest.Eventually(t, "it is ready", func() bool { return ready() == http.StatusOK })
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // the test is over
	for _, step := range []struct {
		text string
		want int
	}{
		{`ALTER TABLE revision RENAME TO away`, http.StatusServiceUnavailable}, {`ALTER TABLE away RENAME TO revision`, http.StatusOK},
	} {
		if _, err := db.ExecContext(t.Context(), step.text); err != nil {
			t.Fatal(err)
		}
		if step.want != http.StatusOK {
			if _, err := w.Update(within(t), &pb.UpdateRequest{Change: change("a:b", "n", "2")}); err == nil {
				t.Error("a write that cannot be done succeeds")
			}
		}
		rpctest.Eventually(t, "readiness follows", func() bool { return ready() == step.want })
	}
	if got := w.see("a:b"); got != `{"n":1}` {
		t.Errorf("got %s", got)
	}
}
