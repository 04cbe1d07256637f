// Package elastic is db-srv's driver for Elasticsearch and OpenSearch, from
// version 7 of the one and 1 of the other. A record is a document that is
// replaced only while its sequence number is known; its terms are nested
// documents, so that no metadata key becomes a field of the mapping.
package elastic

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/internal/srv/db/driver"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 256 << 20

type store struct {
	client *elastictransport.Client
	http   *http.Transport
	prefix string   // of the names of indices
	fixed  bool     // indices must be there
	known  sync.Map // indices that were seen or created
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
		// Every change finds out whether an earlier try of its own took place.
		elastictransport.WithRetry(2, 502, 503, 504),
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
	return s.do(ctx, "ping", http.MethodGet, "/", nil, nil)
}

func (s *store) index(table string) string { return "/" + s.prefix + table }

// document returns the path of a record. Ids may hold anything; what Elasticsearch
// gets of them has letters, digits, - and _ alone.
func (s *store) document(table, kind, id string) string {
	return s.index(table) + "/" + kind + "/" + base64.RawURLEncoding.EncodeToString([]byte(id))
}

// statusError is an answer that is no success.
type statusError struct {
	code   int
	kind   string
	reason string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("elasticsearch answered %d %s: %.200s", e.code, e.kind, e.reason)
}

func status(err error) int {
	var e *statusError
	if errors.As(err, &e) {
		return e.code
	}
	return 0
}

// noIndex tells whether the index is missing, not the document.
func noIndex(err error) bool {
	var e *statusError
	return errors.As(err, &e) && e.kind == "index_not_found_exception"
}

// do sends a request with a JSON body and decodes the answer into result.
func (s *store) do(ctx context.Context, doing, method, path string, body, result any) error {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, path, reader)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	rsp, err := s.client.Perform(req)
	if err != nil {
		return failed(ctx, doing, err)
	}
	defer func() { _ = rsp.Body.Close() }() // read to its end, or given up
	data, err := io.ReadAll(io.LimitReader(rsp.Body, maxAnswer))
	if err != nil {
		return failed(ctx, doing, err)
	}
	if rsp.StatusCode/100 != 2 {
		return answered(doing, rsp.StatusCode, data)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(data, result); err != nil {
		return fmt.Errorf("%s: elasticsearch answered no JSON: %w", doing, err)
	}
	return nil
}

// failed is the error of a request without an answer.
func failed(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	return fmt.Errorf("%s: %w: %w", doing, driver.ErrUnavailable, err)
}

func answered(doing string, code int, data []byte) error {
	var body struct{ Error json.RawMessage }
	e := &statusError{code: code}
	if json.Unmarshal(data, &body) == nil {
		var detail struct{ Type, Reason string }
		if json.Unmarshal(body.Error, &detail) == nil {
			e.kind, e.reason = detail.Type, detail.Reason
		}
	}
	if code == 429 || code >= 502 {
		return fmt.Errorf("%s: %w: %w", doing, driver.ErrUnavailable, e)
	}
	return fmt.Errorf("%s: %w", doing, e)
}

// ready creates the index of a table before the first write to it: else
// Elasticsearch would, with fields by its own guess.
func (s *store) ready(ctx context.Context, table string) error {
	if _, ok := s.known.Load(table); ok {
		return nil
	}
	var err error
	if s.fixed {
		err = s.do(ctx, "find index", http.MethodGet, s.index(table), nil, nil)
		if noIndex(err) {
			return fmt.Errorf("table %s: %w", table, driver.ErrNoTable)
		}
	} else {
		err = s.do(ctx, "create index", http.MethodPut, s.index(table), mapping(), nil)
		var e *statusError
		if errors.As(err, &e) && e.kind == "resource_already_exists_exception" {
			// Indices of releases before fencing tokens lack the field.
			err = s.do(ctx, "add fields", http.MethodPut, s.index(table)+"/_mapping", mapping()["mappings"], nil)
		}
	}
	if err == nil {
		s.known.Store(table, nil)
	}
	return err
}

type object = map[string]any

func mapping() object {
	keyword, stored := object{"type": "keyword"}, object{"type": "binary"}
	long := object{"type": "long"}
	return object{
		"settings": object{"index": object{"max_result_window": 102_000}},
		"mappings": object{"dynamic": "strict", "properties": object{
			"id": keyword, "created": long, "updated": long, "etag": keyword, "metadata": stored, "data": stored,
			"fence": object{"type": "keyword", "index": false, "doc_values": false},
			"terms": object{"type": "nested", "properties": object{"k": keyword, "v": keyword}},
		}},
	}
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
}

// there tells whether it is a record.
func (h *held) there() bool { return h.Source.ETag != "" }

// get reads by id, which sees every acknowledged change. Without a document all
// of the answer is zero.
func (s *store) get(ctx context.Context, table, id, fields string) (*held, error) {
	h := &held{}
	err := s.do(ctx, "read", http.MethodGet, s.document(table, "_doc", id)+fields, nil, h)
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
