package db_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/micro/go-platform/db"
)

// An option fits the methods that can follow it, and does not compile with others.
func TestWhatOptionsFit(t *testing.T) {
	methods := map[string]reflect.Type{
		"create": reflect.TypeFor[db.CreateOption](), "update": reflect.TypeFor[db.UpdateOption](), "put": reflect.TypeFor[db.PutOption](),
		"delete": reflect.TypeFor[db.DeleteOption](), "read": reflect.TypeFor[db.ReadOption](), "search": reflect.TypeFor[db.SearchOption](),
	}
	all := []string{"create", "delete", "put", "read", "search", "update"}
	for _, c := range []struct {
		option any
		fits   []string
	}{
		{db.WithContext, all}, {db.InDatabase, all}, {db.InTable, all},
		{db.Fence, []string{"create", "delete", "put", "update"}},
		{db.IfMatch, []string{"delete", "put", "update"}},
		{db.CreateOnly, []string{"put", "update"}}, {db.Upsert, []string{"put", "update"}},
		{db.Returning, []string{"create", "put", "read", "update"}},
		{db.WithMetadata, []string{"put"}},
		{db.WithConsistency, []string{"read", "search"}},
		{db.Where, []string{"search"}}, {db.OrderBy, []string{"search"}}, {db.Descending, []string{"search"}},
		{db.After, []string{"search"}}, {db.More, []string{"search"}},
	} {
		is := reflect.TypeOf(c.option).Out(0)
		var fits []string
		for method, wants := range methods {
			if is.AssignableTo(wants) {
				fits = append(fits, method)
			}
		}
		if slices.Sort(fits); !slices.Equal(fits, c.fits) {
			t.Errorf("%v fits %v, want %v", is, fits, c.fits)
		}
	}
}

// forwarding is how a wrapper of a DB passes options on.
type forwarding struct{ db.DB }

func (f forwarding) Read(id string, opts ...db.ReadOption) (db.Record, error) {
	return f.DB.Read(id, append(opts, db.InTable("other"))...)
}

var _ db.DB = forwarding{}
