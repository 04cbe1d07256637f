package srv

import (
	"regexp"
	"strings"

	"github.com/micro/go-platform/config/internal/conftree"
	pb "github.com/micro/go-platform/config/proto"
)

// mask stands for what is under a key that looks secret.
const mask = "*****"

// secret finds keys of what should not be read over a shoulder.
var secret = regexp.MustCompile(`(?i)passw|passphrase|secret|token|credential|(private|api|access|signing|encryption)[-_. ]?key|dsn|database[-_. ]?url|authorization|cookie`)

// hide returns v with what is secret masked.
func hide(v any) any {
	switch v := v.(type) {
	case conftree.Tree:
		hidden := make(conftree.Tree, len(v))
		for key, x := range v {
			if secret.MatchString(key) && x != nil {
				hidden[key] = mask
			} else {
				hidden[key] = hide(x)
			}
		}
		return hidden
	case []any:
		hidden := make([]any, len(v))
		for i, x := range v {
			hidden[i] = hide(x)
		}
		return hidden
	}
	return v
}

// masked returns the JSON of what is at a path with secrets masked, nothing when
// it is not there or there is no room left for it.
func masked(t conftree.Tree, path []string, left *int) []byte {
	v := hide(t)
	for _, key := range path {
		object, ok := v.(conftree.Tree)
		if !ok {
			break // masked as a whole, or gone
		}
		if v, ok = object[key]; !ok {
			return nil
		}
	}
	data := conftree.Encode(v)
	if *left -= len(data); *left < 0 {
		return nil
	}
	return data
}

// differences are those of two trees, secrets masked: that they differ is told.
func differences(before, after conftree.Tree) ([]*pb.Difference, error) {
	var all []*pb.Difference
	room := newRoom()
	for _, d := range conftree.Diff(before, after) {
		hidden := false
		for _, key := range d.Path {
			hidden = hidden || secret.MatchString(key)
		}
		show := func(v any) string {
			if v == nil {
				return ""
			}
			if hidden {
				v = mask
			}
			data := conftree.Encode(hide(v))
			if room.data -= len(data); room.data < 0 {
				return ""
			}
			return string(data)
		}
		w := &pb.Difference{Path: strings.Join(d.Path, "/"), Action: "changed", Before: show(d.Before), After: show(d.After)}
		switch {
		case d.Before == nil:
			w.Action = "added"
		case d.After == nil:
			w.Action = "removed"
		}
		if !room.take(w) {
			return nil, invalid("from, to: the differences are more than %d bytes, read both revisions", maxMessage)
		}
		all = append(all, w)
	}
	return all, nil
}
