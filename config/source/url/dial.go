package url

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/micro/go-platform/config"
)

// blocked returns the ranges that are not public unicast addresses, beside those
// that netip knows: RFC 6890 and its successors at IANA. Ranges that embed an IPv4
// address are among them because that may be any.
func blocked() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "fec0::/10", "::/96",
	} {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// public reports whether an address belongs to the public internet.
func public(addr netip.Addr, blocked []netip.Prefix) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range blocked {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// onlyPublic is the Control of a dialer: it sees the address after the name was
// resolved, so that neither a redirect nor a name that changes its mind gets
// around it.
func onlyPublic() func(network, address string, c syscall.RawConn) error {
	never := blocked()
	return func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !public(at.Addr(), never) {
			return fmt.Errorf("%w: %s is no public address: option AllowPrivate lets it be read", config.ErrInvalid, address)
		}
		return nil
	}
}
