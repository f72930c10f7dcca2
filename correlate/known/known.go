// Package known holds what the user knows of a network: which findings, hits and
// incidents to ignore, and which hosts do by right what would be an attack by
// others. It does no I/O and asks for no time.
package known

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"vft/event"
)

// Role is what a known host does by right.
type Role uint8

// The roles, in the order of their names in the rules file.
const (
	Scanner        Role = iota // scans, looks for hosts and weak passwords
	Monitor                    // asks many hosts, again and again, dead ones too
	DHCPServer                 // offers addresses
	Gateway                    // routes, redirects, and asks for what others look for behind it
	Resolver                   // asks for the names that others ask it for
	MailServer                 // delivers to many hosts
	VirtualAddress             // moves from host to host (VRRP, CARP, clusters)
	roles
)

var roleNames = [roles]string{"scanners", "monitors", "dhcp-servers", "gateways", "resolvers", "mail-servers", "virtual-addresses"}

// String returns the name that the role has in the rules file.
func (r Role) String() string { return roleNames[r] }

// RoleNames returns the names of all roles, each at the index of its Role.
func RoleNames() []string { return slices.Clone(roleNames[:]) }

// explained are the finding types that each role explains when a host of it is the
// offender.
var explained = [roles][]string{
	Scanner: {
		"vertical_scan", "horizontal_scan", "slow_scan", "host_discovery", "portscan", "winscan", "web_scan", "brute_force", "new_peer",
		"touch", "same-port", "same-source", "same-client", "host-scan", "port-campaign", "slow-scan", "sweep",
	},
	Monitor:        {"horizontal_scan", "slow_scan", "host_discovery", "portscan", "winscan", "web_scan", "new_peer", "beacon", "long_connection"},
	DHCPServer:     {"rogue_dhcp"},
	Gateway:        {"host_discovery", "icmp_redirect", "rogue_ra", "arp_spoof"},
	Resolver:       {"dns_tunnel", "dga", "udp_flood", "portscan"},
	MailServer:     {"spam", "horizontal_scan", "slow_scan", "portscan"},
	VirtualAddress: {"arp_spoof"},
}

// Lists are the known hosts. A nil *Lists knows nobody. Hits are counted; apart
// from Add, all methods may be called by several goroutines.
type Lists struct {
	sets [roles]addresses
	hits [roles]atomic.Uint64
}

// maxListed is how many addresses and networks one role may have.
const maxListed = 4096

// Add gives the hosts of a network a role; false when the role has maxListed already.
func (l *Lists) Add(r Role, network netip.Prefix) bool {
	if len(l.sets[r].list) >= maxListed {
		return false
	}
	l.sets[r].add(network)
	return true
}

// Networks returns what a role was given, addresses as networks of one.
func (l *Lists) Networks(r Role) []netip.Prefix {
	if l == nil {
		return nil
	}
	return slices.Clone(l.sets[r].list)
}

// Addresses returns the single addresses that a role was given.
func (l *Lists) Addresses(r Role) (all []netip.Addr) {
	for _, n := range l.Networks(r) {
		if n.IsSingleIP() {
			all = append(all, n.Addr())
		}
	}
	return all
}

// Has reports whether a host has a role. It counts no hit.
func (l *Lists) Has(r Role, a netip.Addr) bool { return l != nil && l.sets[r].has(a) }

// Hit counts that something was let pass because of a role.
func (l *Lists) Hit(r Role) {
	if l != nil {
		l.hits[r].Add(1)
	}
}

// Explains reports whether a known host does by right what f tells, and counts
// that. A virtual address also explains what is told of it as a victim: the finding
// names who claimed it.
func (l *Lists) Explains(f *event.Finding) bool {
	if l == nil {
		return false
	}
	for r := range roles {
		if !slices.Contains(explained[r], f.Type) {
			continue
		}
		if l.sets[r].has(f.Offender) || r == VirtualAddress && anyOf(&l.sets[r], f.Victims) {
			l.hits[r].Add(1)
			return true
		}
	}
	return false
}

func anyOf(set *addresses, all []netip.Addr) bool { return slices.ContainsFunc(all, set.has) }

// Counts yields how often each role explained something.
func (l *Lists) Counts(yield func(name string, value uint64)) {
	if l == nil {
		return
	}
	for r := range roles {
		yield(counterNames[r], l.hits[r].Load())
	}
}

var counterNames = [roles]string{"known_scanners", "known_monitors", "known_dhcp_servers", "known_gateways", "known_resolvers", "known_mail_servers", "known_virtual_addresses"}

// addresses is a set of networks that is looked up by length, not one by one.
type addresses struct {
	list  []netip.Prefix
	index map[netip.Prefix]struct{}
	bits  []lengthOf
}

// lengthOf is a length that occurs in one family.
type lengthOf struct {
	bits int
	v4   bool
}

func (s *addresses) add(n netip.Prefix) {
	n = n.Masked()
	if _, known := s.index[n]; known {
		return
	}
	if s.index == nil {
		s.index = map[netip.Prefix]struct{}{}
	}
	s.index[n] = struct{}{}
	s.list = append(s.list, n)
	if of := (lengthOf{n.Bits(), n.Addr().Is4()}); !slices.Contains(s.bits, of) {
		s.bits = append(s.bits, of)
	}
}

func (s *addresses) has(a netip.Addr) bool {
	if len(s.bits) == 0 || !a.IsValid() {
		return false
	}
	a = a.Unmap().WithZone("")
	for _, of := range s.bits {
		if of.v4 != a.Is4() {
			continue
		}
		if n, err := a.Prefix(of.bits); err == nil {
			if _, ok := s.index[n]; ok {
				return true
			}
		}
	}
	return false
}
