package guard

import (
	"math"
	"runtime/debug"
	"strings"

	"google.golang.org/grpc"

	"github.com/micro/go-platform/internal/option"
)

// Option sets an option of a Guard.
type Option func(*options)

type options struct {
	open       []string
	service    string
	judge      Judge
	observe    func(reason string)
	maxMessage int
	limits     limits
	server     []grpc.ServerOption
}

// Open names methods ("Handler.Method", "Handler.*") that need no token. Without
// one a caller may send such a method 64 KB within five seconds.
func Open(methods ...string) Option {
	return func(o *options) { o.open = append(o.open, methods...) }
}

// As sets the name of the service in rules. The default is that of the plugin
// (auth.NewAuth has the option Service).
func As(service string) Option { return func(o *options) { o.service = service } }

// By sets j as the Judge, in place of an auth.Auth.
func By(j Judge) Option { return func(o *options) { o.judge = j } }

// Observe sets a function that is called with the reason of each refusal. It
// must not block and must be safe for concurrent use.
func Observe(f func(reason string)) Option { return func(o *options) { o.observe = f } }

// MaxMessage sets the largest message that is received or sent, in bytes. The
// default is 4 MB, as with go-micro's grpc server, whose MaxMsgSize it
// replaces.
func MaxMessage(bytes int) Option { return func(o *options) { o.maxMessage = bytes } }

// InFlight bounds the bytes of all messages that are being received or worked
// on. A quarter of it is the bound of an account at a host, of a host for
// callers without an account, and of all callers without a token together; an
// eighth is that of a connection. No bound is less than one message. Reading
// and decoding a message takes up to three times its size. The default is an
// eighth of the process's memory limit (GOMEMLIMIT), or 512 MB without one.
func InFlight(bytes int64) Option { return func(o *options) { o.limits.all = bytes } }

// Server adds other options of the grpc server, for ServerOption.
func Server(opts ...grpc.ServerOption) Option {
	return func(o *options) { o.server = append(o.server, opts...) }
}

const (
	defaultInFlight   = 512 << 20
	defaultMaxMessage = 4 << 20
)

func newOptions(opts []Option) options {
	o := options{maxMessage: defaultMaxMessage}
	option.Apply(&o, opts)
	if o.limits.all <= 0 {
		o.limits.all = defaultInFlight
		if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
			o.limits.all = limit / 8
		}
	}
	least := int64(o.maxMessage) + streamWindow
	o.limits.all = max(o.limits.all, 2*least)
	o.limits.peer = max(o.limits.all/4, least)
	o.limits.conn = max(o.limits.all/8, least)
	o.limits.strangers = max(o.limits.all/4, streamWindow)
	return o
}

func (o *options) isOpen(method string) bool {
	for _, m := range o.open {
		if begin, ok := strings.CutSuffix(m, "*"); ok && strings.HasPrefix(method, begin) || m == method {
			return true
		}
	}
	return false
}
