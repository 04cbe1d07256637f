package db

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The actions of a Change.
const (
	Created = "create"
	Updated = "update"
	Deleted = "delete"
)

// Change is what the event of a change tells: ParseChange reads it from the
// event's Data. The record's bytes are not in it.
type Change struct {
	Database string   `json:"database"`
	Table    string   `json:"table"`
	Id       string   `json:"id"`
	Action   string   `json:"action"`
	ETag     string   `json:"etag,omitempty"` // after the change; none after a delete
	Time     int64    `json:"time"`           // unix seconds
	Metadata Metadata `json:"metadata,omitempty"`
}

// EventType returns the type of the events of a table's changes. Subscribers use
// "db.*" for all, EventType(database, table, "*") for those of a table.
func EventType(database, table, action string) string {
	return "db." + database + "." + table + "." + action
}

// ParseChange reads the Data of an event of a change. A float without a
// fraction comes back as an integer.
func ParseChange(data string) (Change, error) {
	var c Change
	d := json.NewDecoder(bytes.NewReader([]byte(data)))
	d.UseNumber()
	if err := d.Decode(&c); err != nil {
		return Change{}, fmt.Errorf("db: change: %w", err)
	}
	for key, value := range c.Metadata {
		n, ok := value.(json.Number)
		if !ok {
			continue
		}
		if i, err := n.Int64(); err == nil {
			c.Metadata[key] = i
		} else if f, err := n.Float64(); err == nil {
			c.Metadata[key] = f
		}
	}
	return c, nil
}
