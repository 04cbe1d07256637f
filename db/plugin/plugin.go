// Package plugin is for authors of plugins of db.
package plugin

import pb "github.com/micro/go-platform/db/proto"

// Service is db-srv as a DB calls it. Its errors are those that go-micro's
// clients return, or wrap the sentinels of package db.
type Service interface{ pb.DBService }
