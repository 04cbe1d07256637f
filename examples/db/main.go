// Db keeps the stock of a shop: typed records, a search in order, and two
// clerks who sell the last items at once without selling one twice.
//
//	consul agent -dev &                     # or -registry memory
//	go run ./examples/db
//
// It uses the db-srv that it finds there, with the account of devauth, and
// brings one of its own where there is none.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"go-micro.dev/v6/broker"
	"go-micro.dev/v6/client"
	"go-micro.dev/v6/registry"

	"github.com/micro/go-platform/db"
	dbsrv "github.com/micro/go-platform/db/srv"
	"github.com/micro/go-platform/examples/internal/devauth"
	"github.com/micro/go-platform/internal/daemon"
	"github.com/micro/go-platform/internal/microlog"
	"github.com/micro/go-platform/internal/rpc"
)

func main() {
	kind := flag.String("registry", "consul", "consul, etcd, nats, mdns or memory")
	address := flag.String("registry_address", "", "`host:port` of the registry, empty for its usual one")
	url := flag.String("database_url", "sqlite::memory:", "where a db-srv of its own keeps the records, see db-srv --help")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	reg, err := daemon.NewRegistry(*kind, *address)
	if err == nil {
		err = run(ctx, reg, *url, os.Stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "db:", err) // there is nobody else to tell
		os.Exit(1)
	}
}

func run(ctx context.Context, reg registry.Registry, url string, out io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b := broker.NewMemoryBroker()
	if err := b.Connect(); err != nil {
		return err
	}
	own := rpc.NewClient(rpc.Config{Registry: reg, Broker: b, Logger: microlog.New(log)})
	defer own.Close()
	if services, found := reg.GetService(db.ServiceName); found == nil && len(services) > 0 {
		c, stop, err := devauth.Wrap(own)
		if err != nil {
			return err
		}
		return errors.Join(shop(ctx, c, out), stop())
	}
	srv, err := daemon.Start(ctx, dbsrv.New(), daemon.Config{Registry: reg, Broker: b, Logger: log, DatabaseURL: url, Insecure: true})
	if err != nil {
		return err
	}
	return errors.Join(shop(ctx, own, out), srv.Stop())
}

type item struct {
	Name string
	Left int
}

func shop(ctx context.Context, c client.Client, out io.Writer) error {
	stock := db.NewDB(db.Client(c), db.Table("stock"))
	if err := stock.Start(); err != nil {
		return err
	}
	defer func() { _ = stock.Stop() }() // it only lets go of the connections
	for id, i := range map[string]item{"apple": {"Apple", 10}, "pear": {"Pear", 3}, "plum": {"Plum", 25}} {
		md := db.Metadata{"kind": "fruit", "left": i.Left}
		if err := db.Put(stock, id, i, db.WithMetadata(md), db.WithContext(ctx)); err != nil {
			return err
		}
	}
	sold, failed := make([]int, 2), make([]error, 2)
	var clerks sync.WaitGroup
	for n := range sold {
		clerks.Go(func() {
			for failed[n] == nil {
				if failed[n] = sell(ctx, stock, "apple"); failed[n] == nil {
					sold[n]++
				}
			}
		})
	}
	clerks.Wait()
	for _, err := range failed {
		if !errors.Is(err, errSoldOut) {
			return err
		}
	}
	if _, err := fmt.Fprintf(out, "the clerks sold %d of 10 apples\n", sold[0]+sold[1]); err != nil {
		return err
	}
	few, err := stock.Search(db.Metadata{"kind": "fruit"}, 10, 0,
		db.Where("left", db.Less, 20), db.OrderBy("left"), db.Descending(), db.WithContext(ctx))
	if err != nil {
		return err
	}
	for _, r := range few {
		var i item
		if err := r.Scan(&i); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "order more: %s, %d left\n", i.Name, i.Left); err != nil {
			return err
		}
	}
	return nil
}

var errSoldOut = errors.New("sold out")

// sell takes one item. Whoever was slower reads again.
func sell(ctx context.Context, stock db.DB, id string) error {
	for {
		var r db.Record
		i, err := db.Get[item](stock, id, db.Returning(&r), db.WithContext(ctx))
		if err != nil {
			return err
		}
		if i.Left == 0 {
			return errSoldOut
		}
		i.Left--
		err = db.Put(stock, id, i, db.IfMatch(r.ETag()), db.WithMetadata(db.Metadata{"kind": "fruit", "left": i.Left}), db.WithContext(ctx))
		if !errors.Is(err, db.ErrConflict) {
			return err
		}
	}
}
