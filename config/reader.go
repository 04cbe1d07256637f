package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"

	"github.com/micro/go-platform/config/internal/conftree"
)

// NewReader returns the default Reader. It reads JSON, YAML and TOML, merges as
// the package says, and writes JSON. Documents are bounded by MaxSize and
// MaxDepth; aliases in YAML may not expand to much more than the document.
func NewReader() Reader { return jsonReader{} }

type jsonReader struct{}

func (jsonReader) String() string { return "json" }

// Parse implements Reader.
func (jsonReader) Parse(changes ...*ChangeSet) (*ChangeSet, error) {
	merged, result := conftree.Tree{}, &ChangeSet{Format: "json"}
	var sources []string
	for _, cs := range changes {
		if cs == nil {
			continue
		}
		t, err := conftree.Decode(cs.Format, cs.Data)
		if err != nil {
			return nil, fmt.Errorf("config: parse %s: %w", cs.Source, err)
		}
		merged = conftree.Merge(merged, t)
		sources = append(sources, cs.Source)
		if cs.Timestamp.After(result.Timestamp) {
			result.Timestamp = cs.Timestamp
		}
	}
	result.Data = conftree.Encode(merged)
	result.Checksum = checksum(result.Data)
	result.Source = strings.Join(sources, ",")
	return result, nil
}

// Values implements Reader.
func (jsonReader) Values(cs *ChangeSet) (Values, error) {
	if cs == nil {
		return nil, fmt.Errorf("config: values: %w: no change set", ErrInvalid)
	}
	t, err := conftree.Decode(cs.Format, cs.Data)
	if err != nil {
		return nil, fmt.Errorf("config: values of %s: %w", cs.Source, err)
	}
	return newValues(grow(nil, conftree.Merge(nil, t), place{doubts: newDoubts(slog.Default())})), nil
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
