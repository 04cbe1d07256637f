package memcached

import (
	"hash/crc32"
	"net"

	"github.com/bradfitz/gomemcache/memcache"
)

// servers chooses as memcache.ServerList does, but leaves names to be resolved
// when dialling: the plugin starts also when a server's name is not known yet.
type servers []net.Addr

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

func newServers(addresses []string) servers {
	s := make(servers, len(addresses))
	for i, a := range addresses {
		s[i] = address(a)
	}
	return s
}

// PickServer implements memcache.ServerSelector.
func (s servers) PickServer(key string) (net.Addr, error) {
	switch len(s) {
	case 0:
		return nil, memcache.ErrNoServers
	case 1:
		return s[0], nil
	}
	return s[crc32.ChecksumIEEE([]byte(key))%uint32(len(s))], nil
}

// Each implements memcache.ServerSelector.
func (s servers) Each(f func(net.Addr) error) error {
	for _, a := range s {
		if err := f(a); err != nil {
			return err
		}
	}
	return nil
}
