// Package url is a source of a document behind http or https. A server that
// gives its document an ETag or a date is asked for news interval second, which
// costs it an answer without a body; others at the poll interval of the config.
package url

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	neturl "net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/internal/option"
)

// Defaults and bounds.
const (
	DefaultInterval = time.Second
	DefaultTimeout  = 10 * time.Second
	MaxRedirects    = 3
)

type (
	allowKey    struct{}
	intervalKey struct{}
	timeoutKey  struct{}
	headerKey   struct{}
)

func set(key, value any) config.SourceOption {
	return func(o *config.SourceOptions) { o.Context = context.WithValue(o.Context, key, value) }
}

// AllowPrivate lets the URL, and what it redirects to, be at an address of this
// machine, of the local link or of a private network.
func AllowPrivate() config.SourceOption { return set(allowKey{}, true) }

// Interval sets how often a server with validators is asked, at least 10 ms; the
// default is 1 s.
func Interval(d time.Duration) config.SourceOption { return set(intervalKey{}, d) }

// Timeout bounds a request with its redirects and the whole body; the default is
// 10 s.
func Timeout(d time.Duration) config.SourceOption { return set(timeoutKey{}, d) }

// Header is sent with each request to the host of the URL, not to where it
// redirects.
func Header(name, value string) config.SourceOption {
	return func(o *config.SourceOptions) {
		h, _ := o.Context.Value(headerKey{}).(http.Header)
		h = h.Clone()
		if h == nil {
			h = http.Header{}
		}
		h.Set(name, value)
		o.Context = context.WithValue(o.Context, headerKey{}, h)
	}
}

type source struct {
	url      *neturl.URL
	label    string
	format   string
	interval time.Duration
	header   http.Header
	client   *http.Client
	err      error

	mu         sync.Mutex
	etag, date string            // of last
	young      bool              // it has a date that is not a validator yet
	last       *config.ChangeSet // what a 304 stands for
}

// NewSource returns a source of the URL that config.SourceName gives. The format
// goes by config.SourceFormat, the extension of the path, the Content-Type, and
// is JSON otherwise. A body is read up to config.MaxSize bytes, decompressed.
// Proxies of the environment are not used: they would see what the check of the
// address shall prevent.
func NewSource(opts ...config.SourceOption) config.Source {
	o := config.NewSourceOptions(opts...)
	s := &source{format: o.Format, interval: DefaultInterval, label: "url:"}
	timeout := DefaultTimeout
	if d, ok := o.Context.Value(intervalKey{}).(time.Duration); ok {
		s.interval = d
	}
	if d, ok := o.Context.Value(timeoutKey{}).(time.Duration); ok {
		timeout = d
	}
	s.header, _ = o.Context.Value(headerKey{}).(http.Header)
	if s.url, s.err = parse(o.Name); s.err != nil {
		return s
	}
	s.label = "url:" + s.url.Scheme + "://" + s.url.Host + s.url.Path // the rest may be secret
	c := option.Of("config")
	option.AtLeast(c, "Interval", s.interval, 10*time.Millisecond)
	c.Positive("Timeout", timeout)
	s.err = c.Err()
	dialer := &net.Dialer{Timeout: timeout}
	if allow, _ := o.Context.Value(allowKey{}).(bool); !allow {
		dialer.Control = onlyPublic()
	}
	s.client = &http.Client{
		Timeout: timeout, CheckRedirect: s.redirect,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: o.TLS, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: 64 << 10, MaxIdleConns: 2, IdleConnTimeout: 5 * time.Second,
			TLSHandshakeTimeout: timeout,
		},
	}
	return s
}

func parse(raw string) (*neturl.URL, error) {
	u, err := neturl.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		// The URL may hold a password: it is not shown.
		c := option.Of("config")
		c.That(false, "SourceName", "the URL begins neither with http:// nor with https:// and a host")
		return nil, c.Err()
	}
	return u, nil
}

// redirect allows a few, never from https to http, and keeps headers from other
// hosts.
func (s *source) redirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > MaxRedirects:
		return fmt.Errorf("%w: more than %d redirects", config.ErrInvalid, MaxRedirects)
	case req.URL.Scheme != "https" && (req.URL.Scheme != "http" || via[len(via)-1].URL.Scheme == "https"):
		return fmt.Errorf("%w: redirect from %s to %s", config.ErrInvalid, via[len(via)-1].URL.Scheme, req.URL.Scheme)
	case req.URL.Host != s.url.Host || req.URL.Scheme != s.url.Scheme:
		for name := range s.header {
			req.Header.Del(name)
		}
	}
	return nil
}

// String implements config.Source.
func (s *source) String() string { return s.label }

// Read implements config.Source.
func (s *source) Read() (*config.ChangeSet, error) { return s.ReadContext(context.Background()) }

// ReadContext implements config.ContextSource.
func (s *source) ReadContext(ctx context.Context) (*config.ChangeSet, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rsp, err := s.get(ctx)
	if err != nil {
		return nil, s.failed(err)
	}
	defer func() { _ = rsp.Body.Close() }() // it was only read
	switch rsp.StatusCode {
	case http.StatusNotModified:
		if s.last != nil {
			cs := *s.last
			return &cs, nil
		}
	case http.StatusOK:
		return s.take(rsp)
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("config: read %s: %w: %s", s.label, config.ErrNotFound, rsp.Status)
	}
	return nil, fmt.Errorf("config: read %s: %w: status %d", s.label, config.ErrUnavailable, rsp.StatusCode)
}

func (s *source) get(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range s.header {
		req.Header[name] = values
	}
	if s.last != nil && s.etag != "" {
		req.Header.Set("If-None-Match", s.etag)
	} else if s.last != nil && s.date != "" {
		req.Header.Set("If-Modified-Since", s.date)
	}
	return s.client.Do(req)
}

func (s *source) take(rsp *http.Response) (*config.ChangeSet, error) {
	data, err := io.ReadAll(io.LimitReader(rsp.Body, config.MaxSize+1))
	if err != nil {
		return nil, s.failed(err)
	}
	if len(data) > config.MaxSize {
		return nil, fmt.Errorf("config: read %s: %w: larger than %d bytes", s.label, config.ErrInvalid, config.MaxSize)
	}
	s.last = config.NewChangeSet(s.label, s.formatOf(rsp.Header.Get("Content-Type")), data)
	s.etag, s.date = rsp.Header.Get("ETag"), rsp.Header.Get("Last-Modified")
	if s.young = s.etag == "" && young(rsp.Header); s.young {
		s.date = "" // the next change may have the same date
	}
	cs := *s.last
	return &cs, nil
}

// failed tells what went wrong without the URL, which may hold a secret.
func (s *source) failed(err error) error {
	var wrapped *neturl.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, config.ErrInvalid) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("config: read %s: %w", s.label, err)
	}
	return fmt.Errorf("config: read %s: %w: %w", s.label, config.ErrUnavailable, err)
}

func (s *source) formatOf(contentType string) string {
	if s.format != "" {
		return s.format
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = ""
	}
	switch ext := strings.ToLower(path.Ext(s.url.Path)); {
	case ext == ".yaml", ext == ".yml":
		return "yaml"
	case ext == ".toml":
		return "toml"
	case ext == ".json":
		return "json"
	case strings.HasSuffix(kind, "yaml"):
		return "yaml"
	case strings.HasSuffix(kind, "toml"):
		return "toml"
	}
	return "json"
}

// young reports whether a document is so new that it may change without a change of
// its date, which counts whole seconds.
func young(h http.Header) bool {
	changed, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return false
	}
	at, err := http.ParseTime(h.Get("Date")) // by the server's clock, as Last-Modified
	if err != nil {
		at = time.Now()
	}
	return at.Sub(changed) < 2*time.Second
}

// validated reports whether the server is known to have validators, or may have.
func (s *source) validated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last == nil || s.etag != "" || s.date != "" || s.young
}

// Watch implements config.Source.
func (s *source) Watch() (config.SourceWatcher, error) { return s.WatchContext(context.Background()) }

// WatchContext implements config.ContextSource.
func (s *source) WatchContext(ctx context.Context) (config.SourceWatcher, error) {
	if s.err != nil {
		return nil, s.err
	}
	ctx, cancel := context.WithCancel(ctx)
	return &watcher{source: s, ctx: ctx, cancel: cancel}, nil
}

type watcher struct {
	source *source
	ctx    context.Context
	cancel context.CancelFunc
	last   string // checksum
}

// Next implements config.SourceWatcher.
func (w *watcher) Next() (*config.ChangeSet, error) {
	tick := time.NewTicker(w.source.interval)
	defer tick.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return nil, fmt.Errorf("config: watch %s: %w", w.source, config.ErrStopped)
		case <-tick.C:
		}
		if !w.source.validated() {
			continue // left to the poll of the config
		}
		cs, err := w.source.ReadContext(w.ctx)
		switch {
		case w.ctx.Err() != nil:
			return nil, fmt.Errorf("config: watch %s: %w", w.source, config.ErrStopped)
		case err != nil:
			return nil, err
		case cs.Checksum != w.last:
			w.last = cs.Checksum
			return cs, nil
		}
	}
}

// Stop implements config.SourceWatcher.
func (w *watcher) Stop() error {
	w.cancel()
	w.source.client.CloseIdleConnections()
	return nil
}
