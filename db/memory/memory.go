// Package memory is db within one process, for tests: with the rules, errors,
// etags, fencing and searches of db-srv, and nothing that outlives the process.
package memory

import (
	"context"
	"fmt"
	"slices"

	"go-micro.dev/v6/client"

	"github.com/micro/go-platform/db"
	"github.com/micro/go-platform/db/internal/srv/records"
	pb "github.com/micro/go-platform/db/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// NewDB returns a DB with a server of its own, which has only the database of the
// options. Client, TLS, Timeout and Events have no effect.
func NewDB(opts ...db.Option) db.DB {
	return NewServer(db.NewOptions(opts...).Database).NewDB(opts...)
}

// Server stands in for db-srv. It is safe for concurrent use.
type Server struct {
	databases map[string]*store
	handler   *records.Handler
}

// NewServer returns a server with empty databases of these names. Without names it
// has db.DefaultDatabase.
func NewServer(databases ...string) *Server {
	if len(databases) == 0 {
		databases = []string{db.DefaultDatabase}
	}
	s := &Server{databases: make(map[string]*store)}
	for _, name := range databases {
		s.databases[name] = &store{tables: make(map[string]*table)}
	}
	s.handler = &records.Handler{Open: s.open}
	return s
}

func (s *Server) open(_ context.Context, name string) (records.Database, error) {
	found, ok := s.databases[name]
	if !ok {
		return nil, fmt.Errorf("%w: database %s: this server has others", rpcerr.ErrNotFound, name)
	}
	return found, nil
}

// NewDB returns a DB that sees the records of the others of this server.
func (s *Server) NewDB(opts ...db.Option) db.DB {
	return plugin{db.NewDB(append(slices.Clone(opts), db.Service(local{s.handler}))...)}
}

type plugin struct{ db.DB }

func (plugin) String() string { return "memory" }

// local calls the handler as a client would that has found db-srv.
type local struct{ *records.Handler }

func (l local) Create(ctx context.Context, req *pb.CreateRequest, _ ...client.CallOption) (*pb.CreateResponse, error) {
	rsp := &pb.CreateResponse{}
	return rsp, l.Handler.Create(ctx, req, rsp)
}

func (l local) Read(ctx context.Context, req *pb.ReadRequest, _ ...client.CallOption) (*pb.ReadResponse, error) {
	rsp := &pb.ReadResponse{}
	return rsp, l.Handler.Read(ctx, req, rsp)
}

func (l local) Update(ctx context.Context, req *pb.UpdateRequest, _ ...client.CallOption) (*pb.UpdateResponse, error) {
	rsp := &pb.UpdateResponse{}
	return rsp, l.Handler.Update(ctx, req, rsp)
}

func (l local) Delete(ctx context.Context, req *pb.DeleteRequest, _ ...client.CallOption) (*pb.DeleteResponse, error) {
	rsp := &pb.DeleteResponse{}
	return rsp, l.Handler.Delete(ctx, req, rsp)
}

func (l local) Search(ctx context.Context, req *pb.SearchRequest, _ ...client.CallOption) (*pb.SearchResponse, error) {
	rsp := &pb.SearchResponse{}
	return rsp, l.Handler.Search(ctx, req, rsp)
}
