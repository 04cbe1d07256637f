package daemon

import (
	"errors"
	"regexp"

	merrors "go-micro.dev/v6/errors"

	"github.com/micro/go-platform/internal/rpcerr"
)

// What errors of Go's net package, of drivers and of their URLs reveal: the
// ends of a connection, a name that was looked up, a host with its port, and a
// URL.
var (
	places  = regexp.MustCompile(`(?:\[[0-9a-fA-F:.%\w]+\]|\b(?:[\w-]+\.)*[\w-]+):\d{2,5}\b`)
	lookups = regexp.MustCompile(`\blookup [^ :]+`)
	urls    = regexp.MustCompile(`\b([a-z][a-z0-9+.-]*)://[^\s"']+`)
)

// discreet takes the addresses of databases and brokers out of an answer that is
// this service's fault: callers can do nothing with them, and attackers can. The
// log has them.
func discreet(id string, err error) error {
	if err == nil {
		return nil
	}
	var e *merrors.Error
	if errors.As(rpcerr.To(id, err), &e); e.Code < 500 {
		return err
	}
	text := withoutPlaces(e.Detail)
	if text == e.Detail {
		return err
	}
	return &merrors.Error{Id: e.Id, Code: e.Code, Detail: text, Status: e.Status}
}

func withoutPlaces(text string) string {
	text = urls.ReplaceAllString(text, "$1://...")
	text = lookups.ReplaceAllString(text, "lookup ...")
	return places.ReplaceAllString(text, "...")
}
