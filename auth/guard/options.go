package guard

import (
	"math"
	"runtime/debug"
	"strings"
	"time"

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
	streams    int
	stranger   time.Duration // for a message of a caller without a token to arrive
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
// on. Half of it is the bound of an account at all its hosts, a quarter that of
// an account at one host, and of all callers without a token together, of which
// those of one host may have an eighth; an eighth of it is the bound of a
// connection. A message counts from when it is announced, but that of a caller
// without a token counts as it arrives. No bound is less than one message.
// Reading and decoding a message takes up to three times its size. The default
// is an eighth of the process's memory limit (GOMEMLIMIT), or 512 MB without
// one.
func InFlight(bytes int64) Option { return func(o *options) { o.limits.all = bytes } }

// MaxStreams bounds the streams of an account at one host. An account may have
// twice as many at all its hosts, all callers without a token together may have
// n, and those of one host an eighth of it. The default is 1000.
func MaxStreams(n int) Option { return func(o *options) { o.streams = n } }

// Server adds other options of the grpc server, for ServerOption.
func Server(opts ...grpc.ServerOption) Option {
	return func(o *options) { o.server = append(o.server, opts...) }
}

const (
	defaultInFlight   = 512 << 20
	defaultMaxMessage = 4 << 20
	defaultStreams    = 1000
)

// leastOfStrangers has room for a stream and a message.
const leastOfStrangers = streamWindow + idleStream + strangerMessage

func newOptions(opts []Option) options {
	o := options{maxMessage: defaultMaxMessage, stranger: strangerTime}
	option.Apply(&o, opts)
	if o.limits.all <= 0 {
		o.limits.all = defaultInFlight
		if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
			o.limits.all = limit / 8
		}
	}
	least := int64(o.maxMessage) + streamWindow
	o.limits.all = max(o.limits.all, 2*least)
	o.limits.account = max(o.limits.all/2, least)
	o.limits.peer = max(o.limits.all/4, least)
	o.limits.conn = max(o.limits.all/8, least)
	o.limits.strangers = max(o.limits.all/4, leastOfStrangers)
	o.limits.host = max(o.limits.strangers/8, leastOfStrangers)
	n := o.streams
	if n <= 0 {
		n = defaultStreams
	}
	o.limits.streams = streamLimits{account: 2 * n, peer: n, strangers: n, host: max(n/8, 1)}
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
