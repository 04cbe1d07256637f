// This file holds what plugins are made of. Those who use one need none of it.

package db

import "github.com/micro/go-platform/db/plugin"

// Service makes the calls of a DB go to s instead of db-srv, as plugins do that
// speak its protocol. Client and TLS mean nothing then.
func Service(s plugin.Service) Option { return func(o *Options) { o.Service = s } }
