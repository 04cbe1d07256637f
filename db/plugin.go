// This file is for authors of plugins; users of db need nothing of it.

package db

import "github.com/micro/go-platform/db/plugin"

// Service sends the calls of a DB to s instead of db-srv. It is for plugins that
// speak db-srv's protocol. Client and TLS have no effect then.
func Service(s plugin.Service) Option { return func(o *Options) { o.Service = s } }
