// This file is for authors of plugins; users of sync need nothing of it. What
// Options do not need is in sync/plugin.

package sync

import (
	"fmt"
	"strings"
)

// CheckId returns an ErrInvalid that says why id cannot name a lock, an election
// or a duty. Control characters, empty path elements, "." and ".." would leave the
// namespace, or be another key to some server.
func CheckId(id string) error {
	if fault := faultOf(id); fault != "" {
		return fmt.Errorf("sync: %w: id %.100q %s", ErrInvalid, id, fault)
	}
	return nil
}

func faultOf(id string) string {
	if id == "" || len(id) > MaxId {
		return fmt.Sprintf("is not 1 to %d bytes long", MaxId)
	}
	for element := range strings.SplitSeq(id, "/") {
		if element == "" || element == "." || element == ".." {
			return "has an empty element, . or .. between slashes"
		}
	}
	if strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return "has control characters or broken UTF-8"
	}
	return ""
}
