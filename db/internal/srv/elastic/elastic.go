// Package elastic is db-srv's driver for Elasticsearch and OpenSearch, from
// version 7.10 of the one and 1 of the other. A record is a document that is
// replaced only while its sequence number is known; its terms are nested
// documents, so that no metadata key becomes a field of the mapping.
package elastic

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/micro/go-platform/db/internal/srv/driver"
	"github.com/micro/go-platform/internal/rpcerr"
)

type store struct {
	client *elastictransport.Client
	http   *http.Transport
	prefix string      // of the names of indices
	fixed  bool        // indices must be there
	known  sync.Map    // indices that were seen or created
	open   atomic.Bool // it is OpenSearch
}

// Open prepares to talk to the Hosts. Database is the prefix of the indices.
func Open(ctx context.Context, c driver.Config) (driver.Store, error) {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	}
	s := &store{prefix: c.Database + "-", fixed: c.NoCreate}
	s.http = &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: 32, MaxConnsPerHost: 32, IdleConnTimeout: 5 * time.Minute,
		TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: false,
	}
	var urls []*url.URL
	for _, host := range c.Hosts {
		u := &url.URL{Scheme: "http", Host: host}
		if c.Secure {
			u.Scheme = "https"
		}
		urls = append(urls, u)
	}
	opts := []elastictransport.Option{
		elastictransport.WithURLs(urls...),
		elastictransport.WithTransport(s.http),
		elastictransport.WithUserAgent("db-srv"),
		elastictransport.WithDisableRetry(), // it would repeat changes, too
	}
	if c.User != "" {
		opts = append(opts, elastictransport.WithBasicAuth(c.User, c.Password))
	}
	var err error
	if s.client, err = elastictransport.NewClient(opts...); err != nil {
		return nil, errors.New("elasticsearch: cannot make a client") // the error may hold the password
	}
	if err := s.Ping(ctx); err != nil {
		s.http.CloseIdleConnections()
		return nil, err
	}
	return s, nil
}

func (s *store) Close() error {
	err := s.client.Close(context.Background())
	s.http.CloseIdleConnections()
	return err
}

func (s *store) Ping(ctx context.Context) error {
	var said struct {
		Version struct{ Distribution string }
	}
	err := s.do(ctx, "ping", http.MethodGet, "/", nil, &said)
	if err == nil {
		s.open.Store(said.Version.Distribution == "opensearch")
	}
	return err
}

func (s *store) index(table string) string { return "/" + s.prefix + table }

// place returns the path of a record. Ids may hold anything; what Elasticsearch
// gets of them has letters, digits, - and _ alone.
func place(index, kind, id string) string {
	return index + "/" + kind + "/" + base64.RawURLEncoding.EncodeToString([]byte(id))
}

// document is a record as it is stored. That of a deleted one that had a fence
// has nothing but it.
type document struct {
	ID       string `json:"id"`
	Created  int64  `json:"created"`
	Updated  int64  `json:"updated"`
	ETag     string `json:"etag"`
	Metadata []byte `json:"metadata"`
	Data     []byte `json:"data"`
	Terms    []term `json:"terms"`
	Fence    string `json:"fence,omitempty"`
}

type term struct {
	K string `json:"k"`
	V string `json:"v"`
}

func toDocument(r *driver.Record) document {
	d := document{ID: r.ID, Created: r.Created, Updated: r.Updated, ETag: r.ETag, Metadata: r.Metadata, Data: r.Data, Terms: make([]term, 0, len(r.Terms))}
	for _, t := range r.Terms {
		d.Terms = append(d.Terms, term{t.Key, t.Value})
	}
	return d
}

func (d document) record() *driver.Record {
	return &driver.Record{ID: d.ID, Created: d.Created, Updated: d.Updated, ETag: d.ETag, Metadata: d.Metadata, Data: d.Data}
}

// held is a document as it is found, with the numbers that name its version.
type held struct {
	Sequence int64    `json:"_seq_no"`
	Term     int64    `json:"_primary_term"`
	Source   document `json:"_source"`
	Sort     []any    `json:"sort"` // of a hit
}

// sorted returns one of the texts that a hit was sorted by.
func (h *held) sorted(i int) string {
	if i >= len(h.Sort) {
		return ""
	}
	text, _ := h.Sort[i].(string)
	return text
}

// place returns the id of a hit without a document.
func (h *held) place(q driver.Query) string {
	if q.Order != "" {
		return h.sorted(1)
	}
	return h.sorted(0)
}

// there reports whether the document is a record, and not what is left of one.
func (h *held) there() bool { return h.Source.ETag != "" }

// only adds that a change takes place only while h is what is there.
func (h *held) only(params url.Values) {
	params.Set("if_seq_no", strconv.FormatInt(h.Sequence, 10))
	params.Set("if_primary_term", strconv.FormatInt(h.Term, 10))
}

// get reads by id, which sees every acknowledged change. Without a document all
// of the answer is zero.
func (s *store) get(ctx context.Context, table, id, fields string) (*held, error) {
	h := &held{}
	err := s.do(ctx, "read", http.MethodGet, place(s.index(table), "_doc", id)+fields, nil, h)
	if status(err) == http.StatusNotFound {
		return &held{}, nil
	}
	return h, err
}

func (s *store) Read(ctx context.Context, table, id string, _ bool) (*driver.Record, error) {
	h, err := s.get(ctx, table, id, "")
	if err == nil && !h.there() {
		err = rpcerr.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return h.Source.record(), nil
}
