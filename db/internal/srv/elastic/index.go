package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/micro/go-platform/db/internal/srv/driver"
)

// alias is the name under which a table's index is written to. Elasticsearch
// makes an index for what is written to a name without one, with fields by its
// own guess, but not for what requires an alias: one that somebody deleted is
// made anew by us. Where tables are not ours to create, aliases are not either.
func (s *store) alias(table string) string { return s.prefix + table + "-write" }

// at is the path of a write that takes place only while h is what is there.
func (s *store) at(table, id string, h *held) string {
	target, params := s.index(table), url.Values{}
	if !s.fixed {
		target = "/" + s.alias(table)
		params.Set("require_alias", "true")
	}
	if h.Term == 0 {
		return place(target, "_create", id) + "?" + params.Encode()
	}
	h.only(params)
	return place(target, "_doc", id) + "?" + params.Encode()
}

// ready creates the index of a table before the first write to it.
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
		err = s.do(ctx, "create index", http.MethodPut, s.index(table), s.fresh(table), nil)
		var e *statusError
		if errors.As(err, &e) && e.kind == "resource_already_exists_exception" {
			// An operator may have removed the alias.
			err = s.do(ctx, "add alias", http.MethodPut, s.index(table)+"/_alias/"+s.alias(table), nil, nil)
		}
	}
	if err == nil {
		s.known.Store(table, nil)
	}
	return err
}

type object = map[string]any

// fresh is an index to be created.
func (s *store) fresh(table string) object {
	return object{
		"settings": object{"index": object{"max_result_window": 102_000}},
		"mappings": mapping(),
		"aliases":  object{s.alias(table): object{}},
	}
}

func mapping() object {
	keyword, stored := object{"type": "keyword"}, object{"type": "binary"}
	long := object{"type": "long"}
	return object{"dynamic": "strict", "properties": object{
		"id": keyword, "created": long, "updated": long, "etag": keyword, "metadata": stored, "data": stored,
		"fence": object{"type": "keyword", "index": false, "doc_values": false},
		"terms": object{"type": "nested", "properties": object{"k": keyword, "v": keyword}},
	}}
}
