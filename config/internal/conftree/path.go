package conftree

import (
	"strings"

	"github.com/micro/go-platform/internal/clean"
)

// ParsePath splits "supported_phones/android"; the empty path is the root.
// Elements are 1 to MaxKey printable bytes, neither "." nor "..", at most
// MaxDepth of them.
func ParsePath(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	if len(path) > MaxDepth*(MaxKey+1) {
		return nil, invalid("path: longer than %d bytes", MaxDepth*(MaxKey+1))
	}
	elements := strings.Split(path, "/")
	if len(elements) > MaxDepth {
		return nil, invalid("path: more than %d elements", MaxDepth)
	}
	for _, e := range elements {
		if !clean.Name(e, MaxKey) || e == "." || e == ".." {
			return nil, invalid("path: element %.32q is not 1 to %d printable bytes, or is . or ..", e, MaxKey)
		}
	}
	return elements, nil
}

// ParseID splits "NAMESPACE:CONFIG". A namespace is 1 to 64, a name 1 to 128
// bytes of letters, digits and -_. , and a name may have parts between slashes.
func ParseID(id string) (namespace, name string, err error) {
	namespace, name, ok := strings.Cut(id, ":")
	if !ok || !Word(namespace, 64) || len(name) > 128 {
		return "", "", invalid("id: %.64q is not NAMESPACE:CONFIG", id)
	}
	for part := range strings.SplitSeq(name, "/") {
		if !Word(part, 128) {
			return "", "", invalid("id: %.64q is not NAMESPACE:CONFIG", id)
		}
	}
	return namespace, name, nil
}

// Word reports whether s is 1 to limit letters, digits and -_. and does not begin
// with a dot.
func Word(s string, limit int) bool {
	if s == "" || len(s) > limit || s[0] == '.' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}) < 0
}
