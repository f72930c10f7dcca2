// Package hostinfo tells what this host knows of its own network.
package hostinfo

import (
	"net"
	"net/netip"
	"os"
	"slices"
)

// Name is the name of this host, "unknown" when it has none.
func Name() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "unknown"
	}
	return name
}

// maxAddresses is how many addresses are told of a host.
const maxAddresses = 64

// Addresses are the addresses of this host with their networks, loopback left
// out.
func Addresses() (all []netip.Prefix) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() && len(all) < maxAddresses {
			all = append(all, p)
		}
	}
	return all
}

// Is reports whether host names this host, as far as can be told without asking
// anybody.
func Is(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" || host == Name()
	}
	own := func(p netip.Prefix) bool { return p.Addr() == addr.Unmap() }
	return addr.IsLoopback() || addr.IsUnspecified() || slices.ContainsFunc(Addresses(), own)
}

// Reachable is the address under which others reach what is bound to an address
// of this host.
func Reachable(bound netip.Addr) string {
	if !bound.IsUnspecified() {
		return bound.Unmap().String()
	}
	for _, p := range Addresses() {
		if a := p.Addr(); a.IsGlobalUnicast() && a.Is4() {
			return a.String()
		}
	}
	return Name()
}
