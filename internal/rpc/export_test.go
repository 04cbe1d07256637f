package rpc

import "go-micro.dev/v6/client"

// Under returns the client that Acquire made safe to call.
func Under(c client.Client) client.Client { return c.(guarded).Client }
