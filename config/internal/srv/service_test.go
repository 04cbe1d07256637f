package srv_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v6/metadata"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/internal/conftree"
	configsrv "github.com/micro/go-platform/config/internal/srv"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/call"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/rpctest"
)

// world is a network with a config-srv.
type world struct {
	*rpctest.Net
	pb.ConfigService
	t *testing.T
}

func newWorld(t *testing.T, change ...func(*daemon.Config)) *world {
	t.Helper()
	net := rpctest.New(t)
	net.Boot(configsrv.Service(), change...)
	return &world{net, pb.NewConfigService(config.ServiceName, net.Client(rpctest.GRPC)), t}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func change(id, path, data string) *pb.Change {
	return &pb.Change{Id: id, Path: path, ChangeSet: &pb.ChangeSet{Data: data}, Author: "forged", Comment: "why"}
}

func (w *world) create(id, data string) int64 {
	w.t.Helper()
	rsp, err := w.Create(within(w.t), &pb.CreateRequest{Change: change(id, "", data)})
	if err != nil {
		w.t.Fatal(err)
	}
	return rsp.Revision
}

func (w *world) update(id, path, data string) int64 {
	w.t.Helper()
	rsp, err := w.Update(within(w.t), &pb.UpdateRequest{Change: change(id, path, data)})
	if err != nil {
		w.t.Fatal(err)
	}
	return rsp.Revision
}

// read returns the data, or the code of the error.
func (w *world) read(req *pb.ReadRequest) string {
	w.t.Helper()
	rsp, err := w.Read(within(w.t), req)
	if err != nil {
		return fmt.Sprint(call.Code(err))
	}
	return rsp.Change.ChangeSet.Data
}

func (w *world) see(id string) string { return w.read(&pb.ReadRequest{Id: id}) }
func (w *world) own(id string) string { return w.read(&pb.ReadRequest{Id: id, Own: true}) }

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func TestCreateReadUpdateDelete(t *testing.T) {
	w := newWorld(t)
	expect(t, "nothing", w.see("MICRO:CONFIG"), "404")
	first := w.create("MICRO:CONFIG", `{"b":{"c":[1,2]},"a":1}`)
	expect(t, "whole", w.see("MICRO:CONFIG"), `{"a":1,"b":{"c":[1,2]}}`)
	expect(t, "path", w.read(&pb.ReadRequest{Id: "MICRO:CONFIG", Path: "b/c"}), `[1,2]`)
	expect(t, "no path", w.read(&pb.ReadRequest{Id: "MICRO:CONFIG", Path: "b/x"}), "404")
	_, err := w.Create(within(t), &pb.CreateRequest{Change: change("MICRO:CONFIG", "", `{}`)})
	expect(t, "create again", fmt.Sprint(call.Code(err)), "409")
	_, err = w.Create(within(t), &pb.CreateRequest{Change: change("MICRO:CONFIG", "a", `2`)})
	expect(t, "create a path again", fmt.Sprint(call.Code(err)), "409")
	if _, err = w.Create(within(t), &pb.CreateRequest{Change: change("MICRO:CONFIG", "supported_phones/android", `true`)}); err != nil {
		t.Fatal(err)
	}
	w.update("MICRO:CONFIG", "b/c", `"x"`)
	expect(t, "after", w.see("MICRO:CONFIG"), `{"a":1,"b":{"c":"x"},"supported_phones":{"android":true}}`)
	if _, err = w.Delete(within(t), &pb.DeleteRequest{Change: &pb.Change{Id: "MICRO:CONFIG", Path: "b"}}); err != nil {
		t.Fatal(err)
	}
	expect(t, "without b", w.see("MICRO:CONFIG"), `{"a":1,"supported_phones":{"android":true}}`)
	_, err = w.Delete(within(t), &pb.DeleteRequest{Change: &pb.Change{Id: "MICRO:CONFIG", Path: "b"}})
	expect(t, "delete again", fmt.Sprint(call.Code(err)), "404")
	if _, err = w.Delete(within(t), &pb.DeleteRequest{Change: &pb.Change{Id: "MICRO:CONFIG"}}); err != nil {
		t.Fatal(err)
	}
	expect(t, "deleted", w.see("MICRO:CONFIG"), "404")
	expect(t, "as it was", w.read(&pb.ReadRequest{Id: "MICRO:CONFIG", Own: true, Revision: first}), `{"a":1,"b":{"c":[1,2]}}`)
	_, err = w.Update(within(t), &pb.UpdateRequest{Change: change("MICRO:CONFIG", "", `{}`)})
	expect(t, "update of nothing", fmt.Sprint(call.Code(err)), "404")
	w.create("MICRO:CONFIG", `{"again":1}`)
	yaml := change("x:y", "", "a:\n  b: 1\n")
	yaml.ChangeSet.Format = "yaml"
	if _, err := w.Create(within(t), &pb.CreateRequest{Change: yaml}); err != nil {
		t.Fatal(err)
	}
	expect(t, "yaml", w.see("x:y"), `{"a":{"b":1}}`)
}

func TestBadRequestsAreNamed(t *testing.T) {
	w := newWorld(t)
	w.create("a:b", `{"a":1}`)
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for name, c := range map[string]*pb.Change{
		"change: missing":                nil,
		"change.id: none":                change("", "", "{}"),
		"change.id: no colon":            change("abc", "", "{}"),
		"change.id: up":                  change("a:../b", "", "{}"),
		"change.id: slash at the end":    change("a:b/", "", "{}"),
		"change.id: space":               change("a: b", "", "{}"),
		"change.id: wildcard":            change("a:%", "", "{}"),
		"change.id: long":                change("a:"+strings.Repeat("x", 200), "", "{}"),
		"change.path: up":                change("a:b", "x/../y", "1"),
		"change.path: dot":               change("a:b", "./y", "1"),
		"change.path: absolute":          change("a:b", "/y", "1"),
		"change.path: double":            change("a:b", "x//y", "1"),
		"change.path: control":           change("a:b", "x\ny", "1"),
		"change.path: deep":              change("a:b", strings.Repeat("x/", 70)+"x", "1"),
		"change.path: long":              change("a:b", strings.Repeat("x", 300), "1"),
		"change.change_set: missing":     {Id: "a:b"},
		"change.change_set.data: empty":  change("a:b", "", ""),
		"change.change_set.data: broken": change("a:b", "", `{"a":`),
		"change.change_set.data: two":    change("a:b", "", `{} {}`),
		"change.change_set.data: a list": change("a:b", "", `[1]`),
		"change.change_set.data: deep":   change("a:b", "", deep),
		"change.change_set.data: deeper": change("a:b", strings.Repeat("x/", 60)+"x", `{"a":{"b":{"c":{"d":{"e":1}}}}}`),
		"change.change_set.data: large":  change("a:b", "", `{"a":"`+strings.Repeat("x", 1<<20)+`"}`),
		"change.change_set.data: format": {Id: "a:b", ChangeSet: &pb.ChangeSet{Data: "{}", Format: "xml"}},
		"change.change_set.data: bomb":   {Id: "a:b", ChangeSet: &pb.ChangeSet{Data: bomb(), Format: "yaml"}},
	} {
		field, _, _ := strings.Cut(name, ": ")
		if _, err := w.Update(within(t), &pb.UpdateRequest{Change: c}); call.Code(err) != 400 || !strings.Contains(err.Error(), field) {
			t.Errorf("update: %s: %.300v", name, err)
		}
		if _, err := w.Create(within(t), &pb.CreateRequest{Change: c}); call.Code(err) != 400 {
			t.Errorf("create: %s: %.300v", name, err)
		}
	}
	for name, r := range map[string]*pb.Rollout{
		"rollout.percent: negative":      {Percent: -1},
		"rollout.percent: large":         {Percent: 101},
		"rollout.labels: empty key":      {Labels: map[string]string{"": "x"}},
		"rollout.abort.service: none":    {Abort: &pb.Abort{MaxError: 1}},
		"rollout.abort: never":           {Abort: &pb.Abort{Service: "a"}},
		"rollout.abort.max_error: large": {Abort: &pb.Abort{Service: "a", MaxError: 1000}},
		"rollout.abort.min_calls: -1":    {Abort: &pb.Abort{Service: "a", MaxError: 1, MinCalls: -1}},
	} {
		field, _, _ := strings.Cut(name, ": ")
		if _, err := w.Update(within(t), &pb.UpdateRequest{Change: change("a:b", "a", "2"), Rollout: r}); call.Code(err) != 400 || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"read id":           second(w.Read(within(t), &pb.ReadRequest{Id: "x"})),
		"read path":         second(w.Read(within(t), &pb.ReadRequest{Id: "a:b", Path: ".."})),
		"read instance":     second(w.Read(within(t), &pb.ReadRequest{Id: "a:b", Instance: "\x00"})),
		"read revision":     second(w.Read(within(t), &pb.ReadRequest{Id: "a:b", Revision: 1})),
		"search limit":      second(w.Search(within(t), &pb.SearchRequest{Limit: -1})),
		"search offset":     second(w.Search(within(t), &pb.SearchRequest{Offset: -1})),
		"audit from":        second(w.AuditLog(within(t), &pb.AuditLogRequest{From: -1})),
		"audit limit":       second(w.AuditLog(within(t), &pb.AuditLogRequest{Limit: -1})),
		"audit id":          second(w.AuditLog(within(t), &pb.AuditLogRequest{Id: "\x1b"})),
		"diff id":           second(w.Diff(within(t), &pb.DiffRequest{Id: "x"})),
		"diff from":         second(w.Diff(within(t), &pb.DiffRequest{Id: "a:b", From: -1})),
		"rollback id":       second(w.Rollback(within(t), &pb.RollbackRequest{Id: "x", Revision: 1})),
		"rollback revision": second(w.Rollback(within(t), &pb.RollbackRequest{Id: "a:b"})),
		"rollout id":        second(w.Rollout(within(t), &pb.RolloutRequest{Id: "x"})),
		"rollout action":    second(w.Rollout(within(t), &pb.RolloutRequest{Id: "a:b", Action: 9})),
		"rollout percent":   second(w.Rollout(within(t), &pb.RolloutRequest{Id: "a:b", Percent: 101})),
		"inherit nothing":   second(w.Inherit(within(t), &pb.InheritRequest{})),
		"inherit name":      second(w.Inherit(within(t), &pb.InheritRequest{Namespace: &pb.Namespace{Name: "../x"}})),
		"inherit parent":    second(w.Inherit(within(t), &pb.InheritRequest{Namespace: &pb.Namespace{Name: "x", Parent: "a b"}})),
		"inherit itself":    second(w.Inherit(within(t), &pb.InheritRequest{Namespace: &pb.Namespace{Name: "x", Parent: "x"}})),
	} {
		if call.Code(err) != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	log, err := w.AuditLog(within(t), &pb.AuditLogRequest{})
	if err != nil || len(log.Changes) != 1 {
		t.Errorf("bad requests left %v, %v", log, err)
	}
	expect(t, "after all that", w.own("a:b"), `{"a":1}`)
}

func second[T any](_ T, err error) error { return err }

// bomb is a small document of YAML that aliases make a large one.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := range 12 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	return b.String()
}

func TestCompareAndSet(t *testing.T) {
	w := newWorld(t)
	update := func(data string, condition int64) error {
		_, err := w.Update(within(t), &pb.UpdateRequest{Change: change("a:b", "", data), IfRevision: &condition})
		return err
	}
	first := w.create("a:b", `{"n":0}`)
	if err := update(`{"n":1}`, first); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"update of an old one":   update(`{"n":9}`, first),
		"update of none":         update(`{"n":9}`, 0),
		"delete of an old one":   second(w.Delete(within(t), &pb.DeleteRequest{Change: change("a:b", "", ""), IfRevision: &first})),
		"rollback of an old one": second(w.Rollback(within(t), &pb.RollbackRequest{Id: "a:b", Revision: first, IfRevision: &first})),
	} {
		if call.Code(err) != 412 {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect(t, "after conflicts", w.own("a:b"), `{"n":1}`)
	// Twenty writers who each add one, and try again on a conflict, lose nothing.
	var writers sync.WaitGroup
	for range 20 {
		writers.Go(func() {
			for {
				rsp, err := w.Read(within(t), &pb.ReadRequest{Id: "a:b", Own: true})
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				if _, err := fmt.Sscanf(rsp.Change.ChangeSet.Data, `{"n":%d}`, &n); err != nil {
					t.Error(err)
					return
				}
				err = update(fmt.Sprintf(`{"n":%d}`, n+1), rsp.Change.Revision)
				if call.Code(err) != 412 {
					if err != nil {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	writers.Wait()
	expect(t, "the sum", w.own("a:b"), `{"n":21}`)
}

func TestHistory(t *testing.T) {
	w := newWorld(t)
	first := w.create("a:b", `{"keep":1,"db":{"host":"x","password":"old"},"gone":true}`)
	second_ := w.update("a:b", "", `{"keep":1,"db":{"host":"y","password":"new"},"list":[1]}`)
	diff, err := w.Diff(within(t), &pb.DiffRequest{Id: "a:b", From: first, To: second_})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range diff.Differences {
		got = append(got, fmt.Sprintf("%s %s %s %s", d.Action, d.Path, d.Before, d.After))
	}
	expect(t, "diff", strings.Join(got, "\n"), `changed db/host "x" "y"
changed db/password "*****" "*****"
removed gone true 
added list  [1]`)
	back, err := w.Rollback(within(t), &pb.RollbackRequest{Id: "a:b", Revision: first})
	if err != nil || back.Revision <= second_ {
		t.Fatalf("%v, %v", back, err)
	}
	expect(t, "rolled back", w.own("a:b"), `{"db":{"host":"x","password":"old"},"gone":true,"keep":1}`)
	if diff, err := w.Diff(within(t), &pb.DiffRequest{Id: "a:b", From: first}); err != nil || len(diff.Differences) != 0 {
		t.Errorf("diff after rollback: %v, %v", diff, err)
	}
	if diff, err := w.Diff(within(t), &pb.DiffRequest{Id: "a:b", To: first}); err != nil || len(diff.Differences) != 4 {
		t.Errorf("diff from nothing: %v, %v", diff, err)
	}
	if _, err := w.Rollback(within(t), &pb.RollbackRequest{Id: "a:b", Revision: first - 1}); call.Code(err) != 404 && call.Code(err) != 400 {
		t.Errorf("rollback to before: %v", err)
	}
	log, err := w.AuditLog(within(t), &pb.AuditLogRequest{Id: "a:b", Reverse: true})
	if err != nil || len(log.Changes) != 3 {
		t.Fatalf("%v, %v", log, err)
	}
	newest := log.Changes[0]
	if newest.Action != "rollback" || newest.Change.Comment != fmt.Sprintf("to revision %d", first) || newest.Change.Revision != back.Revision || newest.Change.Timestamp == 0 {
		t.Errorf("newest: %v", newest)
	}
}

// TestForgedAuthor: the token names the author, whatever the request and its metadata
// say. With --insecure, as here, there is no token, and the request names the author.
func TestForgedAuthor(t *testing.T) {
	w := newWorld(t)
	ctx := metadata.NewContext(within(t), metadata.Metadata{"sub": "forged", "author": "forged", "authorization": "Bearer forged"})
	if _, err := w.Create(ctx, &pb.CreateRequest{Change: change("a:b", "", `{}`)}); err != nil {
		t.Fatal(err)
	}
	log, err := w.AuditLog(within(t), &pb.AuditLogRequest{})
	if err != nil || log.Changes[0].Change.Author != "forged" {
		t.Errorf("%v, %v", log, err)
	}
	for sub, want := range map[string]string{"ann": "ann", "": "anonymous", "a\nb\x1b[2J": "a b [2J"} {
		ctx := auth.WithToken(t.Context(), &auth.Token{Metadata: map[string]string{"sub": sub}})
		expect(t, "author", configsrv.Author(ctx, "forged"), want)
	}
	expect(t, "author without a token", configsrv.Author(t.Context(), ""), "anonymous")
	expect(t, "author with --insecure", configsrv.Author(t.Context(), "b\nob"), "b ob")
}

// TestSecretsAreMasked where people look: Search, AuditLog and Diff. Who may read
// a config reads its values with Read.
func TestSecretsAreMasked(t *testing.T) {
	w := newWorld(t)
	w.create("a:b", `{"db":{"password":"s3cret","hosts":[{"api-key":"s3cret"}]},"client_secret":{"deep":"s3cret"},"AccessToken":"s3cret","visible":"yes"}`)
	w.update("a:b", "db/password", `"s3cret2"`)
	search, err := w.Search(within(t), &pb.SearchRequest{})
	if err != nil || !strings.Contains(search.String(), "visible") || strings.Contains(search.String(), "s3cret") {
		t.Errorf("search: %v, %v", search, err)
	}
	log, err := w.AuditLog(within(t), &pb.AuditLogRequest{})
	if err != nil || !strings.Contains(log.String(), "visible") || strings.Contains(log.String(), "s3cret") {
		t.Errorf("audit: %v, %v", log, err)
	}
	expect(t, "what was set", log.Changes[1].Change.ChangeSet.Data, `"*****"`)
	diff, err := w.Diff(within(t), &pb.DiffRequest{Id: "a:b"})
	if err != nil || strings.Contains(diff.String(), "s3cret") || len(diff.Differences) != 5 {
		t.Errorf("diff: %v, %v", diff, err)
	}
	expect(t, "read", w.read(&pb.ReadRequest{Id: "a:b", Path: "db/password"}), `"s3cret2"`)
	expect(t, "hide", configsrv.Hide(`{"passwd":1,"token":null,"a":[{"dsn":"x"}],"keyboard":"ok","PrivateKey":"x","primary_key":"id"}`),
		`{"PrivateKey":"*****","a":[{"dsn":"*****"}],"keyboard":"ok","passwd":"*****","primary_key":"id","token":null}`)
}

func TestSearch(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"prod:shop", "prod:stock", "stage:shop"} {
		w.create(id, `{}`)
	}
	if _, err := w.Delete(within(t), &pb.DeleteRequest{Change: &pb.Change{Id: "prod:stock"}}); err != nil {
		t.Fatal(err)
	}
	w.create("prod:users", `{}`)
	for want, req := range map[string]*pb.SearchRequest{
		"prod:shop prod:users stage:shop": {}, "prod:shop prod:users": {Id: "prod:"}, "prod:users": {Limit: 1, Offset: 1}, "": {Author: "anonymous"}, "stage:shop": {Id: "stage:shop", Author: "forged"},
	} {
		rsp, err := w.Search(within(t), req)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, c := range rsp.Configs {
			ids = append(ids, c.Id)
		}
		expect(t, req.String(), strings.Join(ids, " "), want)
	}
}

func TestInheritance(t *testing.T) {
	w := newWorld(t)
	w.create("default:CONFIG", `{"from":"default","d":1,"removed":1}`)
	w.create("prod:CONFIG", `{"from":"prod","p":1}`)
	w.create("default:shop", `{"from":"default shop","ds":1}`)
	w.create("prod:shop", `{"from":"prod shop","ps":1,"removed":null}`)
	expect(t, "prod over default, app over env", w.see("prod:shop"), `{"d":1,"ds":1,"from":"prod shop","p":1,"ps":1}`)
	expect(t, "own", w.own("prod:shop"), `{"from":"prod shop","ps":1,"removed":null}`)
	expect(t, "another app", w.see("prod:other"), `{"d":1,"from":"prod","p":1,"removed":1}`)
	expect(t, "the namespace itself", w.see("prod:CONFIG"), `{"d":1,"from":"prod","p":1,"removed":1}`)
	expect(t, "an unknown namespace", w.see("new:shop"), `{"d":1,"ds":1,"from":"default shop","removed":1}`)
	if _, err := w.Delete(within(t), &pb.DeleteRequest{Change: &pb.Change{Id: "prod:shop"}}); err != nil {
		t.Fatal(err)
	}
	expect(t, "app over env, without its own", w.see("prod:shop"), `{"d":1,"ds":1,"from":"default shop","p":1,"removed":1}`)
	inherit := func(name, parent string) error {
		_, err := w.Inherit(within(t), &pb.InheritRequest{Namespace: &pb.Namespace{Name: name, Parent: parent}})
		return err
	}
	if err := inherit("canary", "prod"); err != nil {
		t.Fatal(err)
	}
	expect(t, "grandchild", w.see("canary:CONFIG"), `{"d":1,"from":"prod","p":1,"removed":1}`)
	if err := inherit("prod", ""); err != nil {
		t.Fatal(err)
	}
	expect(t, "cut off", w.see("canary:CONFIG"), `{"from":"prod","p":1}`)
	for _, circle := range [][2]string{{"prod", "canary"}, {"default", "canary"}, {"default", "default"}} {
		if err := inherit("prod", "default"); err != nil {
			t.Fatal(err)
		}
		if err := inherit(circle[0], circle[1]); call.Code(err) != 400 {
			t.Errorf("%v: %v", circle, err)
		}
	}
	rsp, err := w.Namespaces(within(t), &pb.NamespacesRequest{})
	if err != nil || len(rsp.Namespaces) != 2 || rsp.Namespaces[0].Name != "canary" || rsp.Namespaces[1].Parent != "default" {
		t.Errorf("%v, %v", rsp, err)
	}
	if err := inherit("n1", "n2"); err != nil {
		t.Fatal(err)
	}
	for i := 2; i < 20; i++ {
		if err := inherit(fmt.Sprint("n", i), fmt.Sprint("n", i+1)); err != nil {
			if call.Code(err) != 400 || i < 5 {
				t.Errorf("chain of %d: %v", i, err)
			}
			return
		}
	}
	t.Error("chains have no end")
}

func TestRoomIsBounded(t *testing.T) {
	w := newWorld(t)
	half := `{"a":"` + strings.Repeat("x", 600<<10) + `"}`
	w.create("a:b", half)
	if _, err := w.Create(within(t), &pb.CreateRequest{Change: change("a:b", "b", `"`+strings.Repeat("x", 600<<10)+`"`)}); call.Code(err) != 400 {
		t.Errorf("a config that grows too large: %.200v", err)
	}
}

func TestTypos(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, 0, "streams them to services"},
		{[]string{"--databse_url", "x"}, 2, "--database_url"},
		{[]string{"serve"}, 2, "every setting is a flag"},
		{[]string{"--registry", "memory", "--broker", "memory", "--data_dir", t.TempDir()}, 1, "--insecure"},
		{[]string{"--registry", "memory", "--broker", "memory", "--insecure", "--database_url", "oracle://u:s3cret@h/x"}, 2, "want sqlite, mysql or postgres"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		out := rpctest.Buffer{Until: "waiting for auth-srv", Then: cancel}
		code := daemon.Run(ctx, configsrv.Service(), append([]string{"config-srv"}, c.args...), &out, &out)
		cancel()
		if code != c.code || !strings.Contains(out.String(), c.want) || strings.Contains(out.String(), "s3cret") {
			t.Errorf("%v: %d: %s", c.args, code, &out)
		}
	}
}

func FuzzParsers(f *testing.F) {
	f.Add("NS:config", "a/b", "json", `{"a":[1,null,"x"]}`)
	f.Add("a:b/c", "../x", "yaml", "a: &a [*a]\n")
	f.Add("::", "a//b", "toml", "a.b.c = 1979-05-27")
	f.Add("a:b", "x", "", "18446744073709551616")
	f.Add("a:b", "x", "yaml", bomb())
	f.Fuzz(func(t *testing.T, id, path, format, data string) {
		_, _, _ = conftree.ParseID(id) // it must not panic
		if elements, err := conftree.ParsePath(path); err == nil && strings.Join(elements, "/") != path {
			t.Errorf("path %q became %q", path, elements)
		}
		tree, err := conftree.Decode(format, []byte(data))
		if err != nil {
			return
		}
		encoded := conftree.Encode(tree)
		again, err := conftree.Decode("json", encoded)
		if err != nil && len(encoded) <= conftree.MaxSize {
			t.Fatalf("%q became %q, which cannot be read: %v", data, encoded, err)
		}
		if err == nil && len(conftree.Diff(tree, again)) > 0 && string(conftree.Encode(again)) != string(encoded) {
			t.Fatalf("%q became %q", encoded, conftree.Encode(again))
		}
		configsrv.Hide(string(encoded))
	})
}
