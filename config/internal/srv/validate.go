package srv

import (
	"context"
	"fmt"
	"strings"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/config"
	"github.com/micro/go-platform/config/internal/conftree"
	pb "github.com/micro/go-platform/config/proto"
	"github.com/micro/go-platform/internal/clean"
	"github.com/micro/go-platform/internal/page"
	"github.com/micro/go-platform/internal/rpcerr"
)

// Bounds of requests and of all that is kept, which is kept in memory too.
const (
	maxData    = 1 << 20 // bytes of a config
	maxComment = 1024
	maxName    = 256
	maxConfigs = 10_000
	maxTotal   = 256 << 20
	maxOffset  = 1_000_000
)

func refuse(err error) error { return rpcerr.To(config.ServiceName, err) }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{rpcerr.ErrInvalid}, args...)...)
}

// anonymous is the author when neither a token nor the request names one.
const anonymous = "anonymous"

// author returns the account of the caller's token, whatever the request says.
// Without a token, which only --insecure allows, it returns what the request says.
func author(ctx context.Context, said string) string {
	token, ok := auth.TokenFromContext(ctx)
	if ok && token.Metadata["sub"] != "" {
		return clean.Text(token.Metadata["sub"], maxName)
	}
	if said = clean.Text(said, maxName); !ok && said != "" {
		return said
	}
	return anonymous
}

func word(s string, limit int) bool { return conftree.Word(s, limit) }

// checkChange returns the path and the cleaned comment.
func checkChange(c *pb.Change) (path []string, comment string, err error) {
	if c == nil {
		return nil, "", invalid("change: missing")
	}
	if err := checkID("change.id", c.Id); err != nil {
		return nil, "", err
	}
	if path, err = conftree.ParsePath(c.Path); err != nil {
		return nil, "", fmt.Errorf("change.path: %w", err)
	}
	return path, clean.Text(c.Comment, maxComment), nil
}

func checkID(field, id string) error {
	if _, _, err := conftree.ParseID(id); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

// parse reads what a change sets: any JSON value at a path, an object in any
// format otherwise.
func parse(c *pb.Change, path []string) (any, error) {
	cs := c.ChangeSet
	if cs == nil {
		return nil, invalid("change.change_set: missing")
	}
	if len(cs.Data) > maxData {
		return nil, invalid("change.change_set.data: %d bytes, more than %d", len(cs.Data), maxData)
	}
	if strings.TrimSpace(cs.Data) == "" {
		return nil, invalid("change.change_set.data: empty, write {} for a config without values")
	}
	var v any
	var err error
	if len(path) > 0 && (cs.Format == "" || cs.Format == "json") {
		v, err = conftree.DecodeJSON([]byte(cs.Data))
	} else {
		v, err = conftree.Decode(cs.Format, []byte(cs.Data))
	}
	if err != nil {
		return nil, fmt.Errorf("change.change_set.data: %w", err)
	}
	return v, nil
}

func checkLabels(field string, labels map[string]string) error {
	if len(labels) > clean.MaxPairs {
		return invalid("%s: more than %d", field, clean.MaxPairs)
	}
	for key, value := range labels {
		if !clean.Name(key, maxName) || len(value) > maxName {
			return invalid("%s: %.32q is not 1 to %d printable bytes, or its value is longer", field, key, maxName)
		}
	}
	return nil
}

func checkInstance(instance string, labels map[string]string) error {
	if instance != "" && !clean.Name(instance, 512) {
		return invalid("instance: not 1 to 512 printable bytes")
	}
	return checkLabels("labels", labels)
}

// checkPage checks and caps the limit and offset of a query.
func checkPage(limit, offset *int64) error {
	if *offset > maxOffset {
		return invalid("offset: %d is more than %d", *offset, maxOffset)
	}
	return page.Check(limit, offset)
}
