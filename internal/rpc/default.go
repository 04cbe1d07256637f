package rpc

import (
	"context"
	"fmt"
	"strings"

	"go-micro.dev/v6/client"
	merrors "go-micro.dev/v6/errors"

	"github.com/micro/go-platform/internal/call"
)

// defaulted is client.DefaultClient for a plugin that was given no client.
// go-micro's services have clients of their own, so that the default one often
// asks a registry that nobody registers at: the errors say so.
type defaulted struct {
	client.Client
	registry string
}

func (d defaulted) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	return d.explain(req, d.Client.Call(ctx, req, rsp, opts...))
}

func (d defaulted) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	s, err := d.Client.Stream(ctx, req, opts...)
	return s, d.explain(req, err)
}

// explain adds the remedy to the error of a client that found no node.
func (d defaulted) explain(req client.Request, err error) error {
	if err == nil {
		return nil
	}
	e := call.Parse(err)
	if e.Id != "go.micro.client" || !strings.HasPrefix(e.Detail, "service "+req.Service()+": ") && !strings.HasPrefix(e.Detail, "error selecting "+req.Service()+" ") {
		return err
	}
	detail := fmt.Sprintf("%s; no Client was given, so the registry of client.DefaultClient (%s) was asked: pass the client of your service, Client(service.Client())",
		e.Detail, d.registry)
	return merrors.New(e.Id, detail, e.Code)
}
