// Package config is what a service should do right now: values merged from
// files, URLs, the environment, config-srv, Consul or etcd, kept up to date
// while the service runs and read without a lock.
//
// Later sources win. Objects are merged key by key, lists and all else are
// replaced, and a null removes what earlier sources said (RFC 7396).
package config

import (
	"context"
	"errors"
	"time"

	"github.com/micro/go-platform/config/internal/conftree"
	"github.com/micro/go-platform/internal/lifecycle"
	"github.com/micro/go-platform/internal/rpcerr"
)

var (
	// DefaultPollInterval is how often a source is read when it says nothing by
	// itself.
	DefaultPollInterval = 30 * time.Second
	// DefaultSourceName is the config that a source of config-srv reads unless
	// it is told another, "NAMESPACE:CONFIG".
	DefaultSourceName = "MICRO:CONFIG"
)

// ServiceName is the service behind NewSource.
const ServiceName = "go.micro.srv.config"

// Bounds of what a source may say.
const (
	MaxSize  = conftree.MaxSize  // bytes of a ChangeSet's data
	MaxDepth = conftree.MaxDepth // objects and lists inside each other
)

var (
	// ErrNotFound is returned by sources that have nothing to read. Unlike
	// ErrUnavailable it is an answer: the values of the snapshot file are not used.
	ErrNotFound = rpcerr.ErrNotFound
	// ErrInvalid is wrapped by errors of options and of unreadable documents.
	ErrInvalid = rpcerr.ErrInvalid
	// ErrConflict is the error, 412 on the wire, of a write to config-srv whose
	// condition does not hold, or that meets a rollout.
	ErrConflict = rpcerr.ErrConflict
	// ErrUnavailable is wrapped when a source cannot be reached.
	ErrUnavailable = rpcerr.ErrUnavailable
	// ErrStopped is returned by watchers and sources that were stopped.
	ErrStopped = lifecycle.ErrStopped
	// ErrRequired is wrapped by the error of a Start that could not read a
	// required source.
	ErrRequired = errors.New("required source could not be read")
)

// Config is a live configuration. All methods are safe for concurrent use.
//
// The first call starts the Config as Start does: it blocks until the sources have
// answered, at most StartTimeout, and logs the error that Start would return. After
// Stop the values stay as they were, and Watch returns ErrStopped. Every read looks
// at one immutable snapshot; two reads may see two. To read several values that
// belong together use Snapshot, or Scan a struct.
type Config interface {
	Values
	// Snapshot returns the values as they are now; they do not change with the
	// config, nor does Set on them change it. It is cheap.
	Snapshot() Values
	// Watch returns a watcher of what is at a path; without a path, of everything.
	Watch(path ...string) (Watcher, error)
	// Explain returns which source set what is at a path, and what the others say
	// there.
	Explain(path ...string) Explanation
	// Status returns the state of each source, in the order of the options.
	Status() []SourceStatus
	// Options returns a copy of the options in force.
	Options() Options
	// Start reads every source and returns when all of them have answered or
	// failed, at most StartTimeout later. An error that wraps ErrRequired names
	// the required sources that have no values, neither read nor from the
	// snapshot file; the config then runs all the same and heals by itself, and
	// another Start reports whether it has. After Stop it returns ErrStopped.
	Start() error
	// Stop ends all watching within two seconds. It is idempotent.
	Stop() error
	// String returns "platform".
	String() string
}

// Values are a tree of named values. Names are compared letter by letter.
type Values interface {
	// Get returns the value at a path, without one all of them. A value that is
	// not there answers with the defaults that it is asked with.
	Get(path ...string) Value
	// Set puts a value at a path of the local copy; no source hears of it. It
	// stays on top of whatever sources say later, and so does Del. The value is
	// anything that encodes to JSON; what does not is logged and changes
	// nothing. Without a path it replaces everything and must be an object.
	Set(val any, path ...string)
	// Del removes what is at a path from the local copy.
	Del(path ...string)
	// Bytes returns all values as JSON with sorted keys.
	Bytes() []byte
}

// Value is one value, or an object or list of them. It never changes. Text that
// says a number, a bool or a duration is taken as one, because the environment
// knows nothing else, and a number is also the text that it was written as. A
// getter returns its default for a value that does not convert; that is logged once
// and listed by Explain.
type Value interface {
	// Bool understands true, yes, on and 1, and their opposites.
	Bool(def bool) bool
	Int(def int) int
	// String returns texts and bools, and numbers as they were written.
	String(def string) string
	Float64(def float64) float64
	// Duration understands "1m30s". A number without a unit does not convert.
	Duration(def time.Duration) time.Duration
	// StringSlice returns a list of texts, numbers or bools, or a single text, number
	// or bool split at its commas. The slice is the caller's.
	StringSlice(def []string) []string
	// StringMap returns an object; what is not text in it as JSON. The map is
	// the caller's.
	StringMap(def map[string]string) map[string]string
	// Scan stores the value in what v points to. Fields are named by the tag
	// "json", as in encoding/json; durations and types that read text or JSON
	// by themselves work. Fields that the value does not mention keep what they
	// had, and so does v when the value is not there or null. On an error, which
	// names the path of every field that is wrong, v is as it was, but for what it
	// points to.
	Scan(v any) error
	// Bytes returns a text as it is and all else as JSON; nil when nothing is
	// there.
	Bytes() []byte
}

// Watcher waits for changes of one value.
type Watcher interface {
	// Next blocks until the value differs from what it was at the Watch or at
	// the last Next, and returns it. Changes in quick succession are told once,
	// with the newest value. After Stop, of the watcher or the config, it
	// returns ErrStopped. It is called by one goroutine at a time.
	Next() (Value, error)
	// Stop makes Next return. It is idempotent.
	Stop() error
}

// Source is one place that values come from. A Config calls Read and the
// methods of one watcher from two goroutines, and String once. A panic is an error of
// the source.
type Source interface {
	// Read returns what the source says now. It gives up by itself.
	Read() (*ChangeSet, error)
	// Watch returns a watcher of changes from now on.
	Watch() (SourceWatcher, error)
	// String returns the kind and the name: "file:config.yaml". It shows no
	// secret and identifies the source in snapshot files.
	String() string
}

// ContextSource is a Source that can be interrupted. Those of this project which
// talk to a server are; a Stop of the config then need not wait for them.
type ContextSource interface {
	Source
	// ReadContext is Read until ctx ends.
	ReadContext(ctx context.Context) (*ChangeSet, error)
	// WatchContext is Watch; the watcher ends with ctx.
	WatchContext(ctx context.Context) (SourceWatcher, error)
}

// SourceWatcher tells what a source says anew. It may leave out what is not the
// newest. After an error the watcher is useless: stop it and make another.
type SourceWatcher interface {
	// Next blocks until there is something new.
	Next() (*ChangeSet, error)
	// Stop makes Next return, with ErrStopped, from any goroutine. It is
	// idempotent.
	Stop() error
}

// Reader reads what sources say.
type Reader interface {
	// Parse merges change sets in order, later ones win, to one in JSON.
	Parse(changes ...*ChangeSet) (*ChangeSet, error)
	// Values returns the values of a change set of Parse.
	Values(changes *ChangeSet) (Values, error)
	// String returns the name of the format that Parse writes.
	String() string
}

// ChangeSet is all that a source says at one time. Empty Data counts as {}. From a
// source that had values before it counts only if it is still empty a second later:
// a file that is being rewritten is empty for a moment.
type ChangeSet struct {
	Timestamp time.Time
	Data      []byte
	Checksum  string // SHA-256 of Data in hexadecimal
	Source    string // its String
	Format    string // of Data: "json", also when empty, "yaml" or "toml"
	// Skipped are the entries that could not be used and are not in Data, each with
	// the reason and without its value.
	Skipped []string
}

// SourceStatus is how a source is.
type SourceStatus struct {
	Source       string
	Required     bool
	Loaded       bool      // it has values
	FromSnapshot bool      // they come from the snapshot file
	Updated      time.Time // when the values became what they are
	Skipped      []string  // entries that could not be used, and why
	Err          error     // why the last read or document could not be used; nil: all is well
	WatchErr     error     // why changes are not pushed but polled for; nil: they are pushed
}
