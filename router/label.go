package router

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go-micro.dev/v6/client"
	"go-micro.dev/v6/metadata"
	"go-micro.dev/v6/registry"
	"go-micro.dev/v6/selector"
	"go-micro.dev/v6/server"

	"github.com/micro/go-platform/internal/header"
	"github.com/micro/go-platform/internal/option"
	"github.com/micro/go-platform/internal/rpcerr"
	"github.com/micro/go-platform/router/internal/balance"
)

// A call whose labels are beyond these bounds is refused: without one of them it
// could go to a node that it must not reach.
const (
	maxLabels     = 16
	maxLabelBytes = 128 // of a name or a value
)

// labelsIn returns the labels among md that are accepted (nil: all), in lower
// case and by name, or an ErrInvalid.
func labelsIn(md map[string]string, accept []string) (found []balance.Label, _ error) {
	for k, v := range md {
		name, ok := labelName(k)
		if !ok || accept != nil && !contains(accept, name) {
			continue
		}
		if n := max(len(name), len(v)); n > maxLabelBytes {
			return nil, fmt.Errorf("router: label %.32q: %w: %d bytes are more than %d", name, ErrInvalid, n, maxLabelBytes)
		}
		found = append(found, balance.Label{Key: strings.ToLower(name), Value: strings.ToLower(v)})
	}
	slices.SortFunc(found, func(a, b balance.Label) int { return strings.Compare(a.Key+"\x00"+a.Value, b.Key+"\x00"+b.Value) })
	// Of spellings that differ in case the first value counts.
	found = slices.CompactFunc(found, func(a, b balance.Label) bool { return a.Key == b.Key })
	if len(found) > maxLabels {
		return nil, fmt.Errorf("router: labels: %w: %d are more than %d", ErrInvalid, len(found), maxLabels)
	}
	return found, nil
}

// labelName reports whether a metadata key is a label and of which name.
func labelName(key string) (string, bool) {
	n := len(LabelPrefix)
	if len(key) <= n || !strings.EqualFold(key[:n], LabelPrefix) {
		return "", false
	}
	return key[n:], true
}

func contains(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// LabelOption changes NewLabelWrapper.
type LabelOption func(*labelClient)

// OnlyLabels names the labels that are honoured, without LabelPrefix. Default
// all: mind what comes from outside.
func OnlyLabels(names ...string) LabelOption {
	return func(c *labelClient) { c.accept = append([]string{}, names...) }
}

// WithoutFallback lets calls fail when no node matches all their labels.
// Default is to call any node, as if there were no labels.
func WithoutFallback() LabelOption { return func(c *labelClient) { c.strict = true } }

// NewLabelWrapper returns c with calls and streams bound to nodes whose
// metadata match ALL labels of the call, the metadata `X-Micro-Label-<key>:
// <value>` of its context, compared in lower case. When no node does they go to
// any node, unless WithoutFallback. A call with more than 16 labels, or one of more
// than 128 bytes, fails with code 400. It works with every selector, by a filter;
// rules and labels kept by router-srv need no such wrapper but ClientWrapper.
func NewLabelWrapper(c client.Client, opts ...LabelOption) client.Client {
	l := &labelClient{Client: c}
	option.Apply(l, opts)
	return l
}

type labelClient struct {
	client.Client
	accept []string
	strict bool
}

func (c *labelClient) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	opts, err := c.with(ctx, opts)
	if err != nil {
		return rpcerr.To(req.Service(), err)
	}
	return c.Client.Call(ctx, req, rsp, opts...)
}

func (c *labelClient) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	opts, err := c.with(ctx, opts)
	if err != nil {
		return nil, rpcerr.To(req.Service(), err)
	}
	return c.Client.Stream(ctx, req, opts...)
}

func (c *labelClient) with(ctx context.Context, opts []client.CallOption) ([]client.CallOption, error) {
	md, _ := metadata.FromContext(ctx)
	labels, err := labelsIn(md, c.accept)
	if len(labels) == 0 {
		return opts, err
	}
	filter := func(services []*registry.Service) []*registry.Service {
		if kept := matching(services, labels); len(kept) > 0 || c.strict {
			return kept
		}
		return services
	}
	return append(opts[:len(opts):len(opts)], client.WithSelectOption(selector.WithFilter(filter))), nil
}

// matching returns the services with only the nodes that have all labels.
func matching(services []*registry.Service, labels []balance.Label) (kept []*registry.Service) {
	for _, s := range services {
		c := *s
		c.Nodes = nil
		for _, n := range s.Nodes {
			if !slices.ContainsFunc(labels, func(l balance.Label) bool {
				v, ok := header.Get(n.Metadata, l.Key)
				return !ok || !strings.EqualFold(v, l.Value)
			}) {
				c.Nodes = append(c.Nodes, n)
			}
		}
		if len(c.Nodes) > 0 {
			kept = append(kept, &c)
		}
	}
	return kept
}

// StripLabels takes the labels out of what callers send, but for those named:
// for services that take calls from outside, so that nobody there steers them,
// or what they call, to a version or a node that is not for them. It must be
// outside of every wrapper that reads labels.
func StripLabels(keep ...string) server.HandlerWrapper {
	return func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			return next(strip(ctx, keep), req, rsp)
		}
	}
}

func strip(ctx context.Context, keep []string) context.Context {
	md, ok := metadata.FromContext(ctx) // a copy
	if !ok {
		return ctx
	}
	found := false
	for k := range md {
		if len(k) > len(LabelPrefix) && strings.EqualFold(k[:len(LabelPrefix)], LabelPrefix) && !contains(keep, k[len(LabelPrefix):]) {
			delete(md, k)
			found = true
		}
	}
	if !found {
		return ctx
	}
	return metadata.NewContext(ctx, md)
}
