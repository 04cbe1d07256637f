package url_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/configtest"
	"github.com/micro/go-platform/config/source/url"
	"github.com/micro/go-platform/internal/rpctest"
)

func TestMain(m *testing.M) { rpctest.Main(m) }

// page is a document behind a URL.
type page struct {
	mu      sync.Mutex
	data    []byte
	etag    int
	down    bool
	noETag  bool
	bodies  atomic.Int64
	cheap   atomic.Int64
	headers http.Header // of the last request
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.headers = r.Header.Clone()
	etag := fmt.Sprintf(`"%d"`, p.etag)
	switch {
	case p.down:
		http.Error(w, "down", http.StatusInternalServerError)
	case p.data == nil:
		http.NotFound(w, r)
	case !p.noETag && r.Header.Get("If-None-Match") == etag:
		p.cheap.Add(1)
		w.WriteHeader(http.StatusNotModified)
	default:
		p.bodies.Add(1)
		if !p.noETag {
			w.Header().Set("ETag", etag)
		}
		_, _ = w.Write(p.data) // the client may be gone
	}
}

func (p *page) put(t testing.TB, values map[string]any) {
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.data = data
	p.etag++
}

func (p *page) turn(down bool) func(testing.TB) {
	return func(testing.TB) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.down = down
	}
}

func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestSource(t *testing.T) {
	configtest.RunSource(t, func(t testing.TB) configtest.Fixture {
		p := &page{}
		return configtest.Fixture{
			Source: url.NewSource(config.SourceName(serve(t, p)), url.AllowPrivate(), url.Interval(10*time.Millisecond)),
			Put:    p.put, Break: p.turn(true), Heal: p.turn(false),
		}
	})
}

func TestTLS(t *testing.T) {
	p := &page{}
	p.put(t, map[string]any{"a": "1"})
	rpctest.Handshakes(t, strings.TrimPrefix(serve(t, p), "http://"), func(_ *testing.T, addr string, c *tls.Config) error {
		_, err := url.NewSource(config.SourceName("https://"+addr), config.SourceTLS(c), url.AllowPrivate()).Read()
		return err
	})
}

// TestChangesWithinASecond has a server whose only validator is a date in seconds.
func TestChangesWithinASecond(t *testing.T) {
	dir := t.TempDir()
	write := func(data string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "a.json"), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"a":0}`)
	c := config.NewConfig(config.PollInterval(time.Hour), config.WithSource(
		url.NewSource(config.SourceName(serve(t, http.FileServer(http.Dir(dir)))+"/a.json"), url.AllowPrivate(), url.Interval(10*time.Millisecond))))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		write(fmt.Sprintf(`{"a":%d}`, i+1))
		rpctest.Eventually(t, fmt.Sprint("change ", i+1, " arrives"), func() bool { return c.Get("a").Int(0) == i+1 })
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestNewsIsCheap(t *testing.T) {
	p := &page{}
	p.put(t, map[string]any{"a": "1"})
	c := config.NewConfig(config.WithSource(url.NewSource(config.SourceName(serve(t, p)), url.AllowPrivate(), url.Interval(10*time.Millisecond))))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	rpctest.Eventually(t, "it asks", func() bool { return p.cheap.Load() > 10 })
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if n := p.bodies.Load(); n != 1 {
		t.Errorf("%d bodies for one document", n)
	}
}

func TestWithoutValidatorsOnlyPollsAsk(t *testing.T) {
	p := &page{noETag: true}
	p.put(t, map[string]any{"a": "1"})
	c := config.NewConfig(config.PollInterval(50*time.Millisecond),
		config.WithSource(url.NewSource(config.SourceName(serve(t, p)), url.AllowPrivate(), url.Interval(10*time.Millisecond))))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p.put(t, map[string]any{"a": "2"})
	rpctest.Eventually(t, "the poll sees it", func() bool { return c.Get("a").Int(0) == 2 })
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestFormats(t *testing.T) {
	for name, c := range map[string][3]string{
		"by type":      {"/a", "application/yaml", "a: 1"},
		"by old type":  {"/a", "text/x-yaml; charset=utf-8", "a: 1"},
		"by toml type": {"/a", "application/toml", "a = 1"},
		"by extension": {"/a.toml", "text/plain", "a = 1"},
		"by yml":       {"/a.yml?x=.json", "text/plain", "a: 1"},
		"json":         {"/a", "text/plain", `{"a":1}`},
	} {
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c[1])
			_, _ = w.Write([]byte(c[2])) // the client may be gone
		}))
		cs, err := url.NewSource(config.SourceName(base+c[0]), url.AllowPrivate()).Read()
		if err != nil {
			t.Fatal(err)
		}
		if v, err := config.NewReader().Parse(cs); err != nil || string(v.Data) != `{"a":1}` {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

// TestAddresses tries what must never be dialled. Nothing leaves this machine:
// each is refused before it is connected to.
func TestAddresses(t *testing.T) {
	p := &page{}
	p.put(t, map[string]any{"secret": "1"})
	loopback := serve(t, p)
	port := loopback[strings.LastIndex(loopback, ":"):]
	for attack, target := range map[string]string{
		"loopback":                  loopback,
		"loopback by name":          "http://localhost" + port,
		"loopback elsewhere":        "http://127.9.9.9" + port,
		"loopback in IPv6":          "http://[::1]" + port,
		"IPv4 in IPv6":              "http://[::ffff:127.0.0.1]" + port,
		"IPv4 in old IPv6":          "http://[::127.0.0.1]" + port,
		"IPv4 in NAT64":             "http://[64:ff9b::7f00:1]" + port,
		"IPv4 in 6to4":              "http://[2002:7f00:1::]" + port,
		"loopback as a number":      "http://2130706433" + port,
		"loopback in octal":         "http://0177.0.0.1" + port,
		"unspecified":               "http://0.0.0.0" + port,
		"unspecified in IPv6":       "http://[::]" + port,
		"link-local: cloud secrets": "http://169.254.169.254/latest/meta-data/",
		"link-local in IPv6":        "http://[fe80::1]/",
		"unique local: AWS in IPv6": "http://[fd00:ec2::254]/",
		"private 10":                "http://10.0.0.1/",
		"private 172":               "http://172.16.0.1/",
		"private 192":               "http://192.168.0.1/",
		"carrier NAT":               "http://100.100.100.200/",
		"multicast":                 "http://224.0.0.1/",
		"broadcast":                 "http://255.255.255.255/",
		"benchmark net":             "http://198.18.0.1/",
	} {
		_, err := url.NewSource(config.SourceName(target), url.Timeout(5*time.Second)).Read()
		if err == nil {
			t.Errorf("%s was read", attack)
		}
		refused := errors.Is(err, config.ErrInvalid) && strings.Contains(err.Error(), "AllowPrivate")
		unresolved := err != nil && strings.Contains(err.Error(), "lookup") // a number that is not a name
		if !refused && !unresolved {
			t.Errorf("%s: %v", attack, err)
		}
	}
	if n := p.bodies.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}

func TestSchemes(t *testing.T) {
	for _, target := range []string{"", "file:///etc/passwd", "/etc/passwd", "ftp://example.com/a", "gopher://x", "http://", "http:/x", "data:,{}", "http://a b", "unix:///run/x", "HTTP+unix://x/"} {
		if _, err := url.NewSource(config.SourceName(target)).Read(); !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%q: %v", target, err)
		}
	}
}

// TestRedirects lets the first address through and blocks the second one.
func TestRedirects(t *testing.T) {
	secret := &page{}
	secret.put(t, map[string]any{"secret": "1"})
	inside := serve(t, secret)
	to := func(target string) string { return serve(t, http.RedirectHandler(target, http.StatusFound)) }
	for attack, target := range map[string]string{
		"redirect to file": to("file:///etc/passwd"),
		"redirect to ftp":  to("ftp://127.0.0.1/"),
		"endless redirect": serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		})),
	} {
		if _, err := url.NewSource(config.SourceName(target), url.AllowPrivate()).Read(); !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%s: %v", attack, err)
		}
	}
	outside := to(inside)
	_, err := url.AllowFirst(url.NewSource(config.SourceName(outside))).Read()
	if !errors.Is(err, config.ErrInvalid) || secret.bodies.Load() != 0 {
		t.Errorf("redirect to loopback: %v", err)
	}
	if cs, err := url.NewSource(config.SourceName(outside), url.AllowPrivate(), url.Header("X-Token", "s3cret"), url.Header("Authorization", "Bearer s3cret")).Read(); err != nil || string(cs.Data) != `{"secret":"1"}` {
		t.Errorf("an allowed redirect: %v, %v", cs, err)
	}
	if secret.headers.Get("X-Token")+secret.headers.Get("Authorization") != "" {
		t.Error("headers went to another host")
	}
	secure := httptest.NewTLSServer(http.RedirectHandler(inside, http.StatusFound))
	defer secure.Close()
	tlsConfig := secure.Client().Transport.(*http.Transport).TLSClientConfig
	if _, err := url.NewSource(config.SourceName(secure.URL), config.SourceTLS(tlsConfig), url.AllowPrivate()).Read(); !errors.Is(err, config.ErrInvalid) {
		t.Errorf("https to http: %v", err)
	}
}

// TestRebinding has a name that resolves to a public address when it is looked
// at, and to loopback when it is dialled: the check is on what is dialled.
func TestRebinding(t *testing.T) {
	p := &page{}
	p.put(t, map[string]any{"secret": "1"})
	loopback := serve(t, p)
	port := loopback[strings.LastIndex(loopback, ":"):]
	_, err := url.Resolve(url.NewSource(config.SourceName("http://rebind.example"+port)), "127.0.0.1"+port).Read()
	if !errors.Is(err, config.ErrInvalid) || p.bodies.Load() != 0 {
		t.Errorf("got %v, %d requests", err, p.bodies.Load())
	}
}

func TestBodies(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request, chunk []byte) {
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	for attack, h := range map[string]http.HandlerFunc{
		"endless body": func(w http.ResponseWriter, r *http.Request) { endless(w, r, []byte(strings.Repeat(" ", 64<<10))) },
		"gzip bomb": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			zeros := make([]byte, 1<<20)
			for range 1000 { // a gigabyte in a megabyte
				if _, err := z.Write(zeros); err != nil {
					return
				}
			}
			_ = z.Close() // the client is gone
		},
		"slow drip": func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte(" "))               // the context tells
				_ = http.NewResponseController(w).Flush() // as above
				<-tick.C
			}
		},
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"endless headers": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		},
		"lying length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000000000")
			_, _ = w.Write([]byte("{")) // the client may be gone
		},
		"broken gzip": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("no gzip")) // the client may be gone
		},
	} {
		t.Run(attack, func(t *testing.T) {
			s := url.NewSource(config.SourceName(serve(t, h)), url.AllowPrivate(), url.Timeout(300*time.Millisecond))
			begun := time.Now()
			cs, err := s.Read()
			if err == nil {
				t.Errorf("%d bytes", len(cs.Data))
			}
			if d := time.Since(begun); d > 8*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestNothingSecretIsShown(t *testing.T) {
	s := url.NewSource(config.SourceName("http://user:s3cret@127.0.0.1:1/path?token=s3cret"), url.AllowPrivate())
	_, err := s.Read()
	if err == nil || !errors.Is(err, config.ErrUnavailable) || strings.Contains(err.Error()+s.String(), "s3cret") {
		t.Errorf("%s: %v", s, err)
	}
}

func TestReadIsInterrupted(t *testing.T) {
	s := url.NewSource(config.SourceName(serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))), url.AllowPrivate())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.(config.ContextSource).ReadContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []config.SourceOption{url.Interval(0), url.Timeout(-1)} {
		if _, err := url.NewSource(config.SourceName("http://127.0.0.1"), o).Read(); !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "option") {
			t.Error(err)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, seed := range []string{"http://a/b.yaml", "https://u:p@[::1]:80/?q#f", "file:///x", "http://%41/", "//x", "http://a\x00b"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, name string) {
		_ = url.NewSource(config.SourceName(name)).String() // must not panic
	})
}
