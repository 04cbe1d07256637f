package db

import "github.com/micro/go-platform/db/plugin"

// Plugins are made of what this file exports: those who use one need none of it.

// Service makes the calls of a DB go to s instead of db-srv, as plugins do that
// speak its protocol. Client and TLS mean nothing then.
func Service(s plugin.Service) Option { return func(o *Options) { o.Service = s } }
