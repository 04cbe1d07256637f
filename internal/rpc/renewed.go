package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// renewed are credentials whose configuration is asked for at each handshake. A
// tls.Config of a client has no hook for that: its authorities are fixed, and a
// verification of one's own is not told an address that is no name.
type renewed struct{ config func() *tls.Config }

func (r renewed) ClientHandshake(ctx context.Context, authority string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(r.config()).ClientHandshake(ctx, authority, c)
}

func (r renewed) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are for clients")
}

func (r renewed) Info() credentials.ProtocolInfo { return credentials.NewTLS(&tls.Config{}).Info() }

func (r renewed) Clone() credentials.TransportCredentials { return r }

// OverrideServerName does nothing: grpc deprecated it, and passes the name.
func (r renewed) OverrideServerName(string) error { return nil }
