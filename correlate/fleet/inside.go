package fleet

import (
	"net/netip"
	"slices"
)

// The limits of what is kept of the addresses of clients.
const (
	maxInside      = 1 << 17 // networks and addresses of all clients
	insideOfClient = 64      // and of one
)

// inside knows the fleet's own hosts and networks: what each client said of
// itself last.
type inside struct {
	clients  map[string][]netip.Prefix
	prefixes map[netip.Prefix]int // how many clients say so
	bits     [129]int             // how many of prefixes are so long
	lengths  []int                // that occur
	entries  int                  // of all clients
	refused  uint64               // since the start
}

// Member tells the addresses of a client, with their prefix lengths, in place of
// those that it told before. A source that is a client, or that stands on a
// private network of one, is inside. Of one client 64 addresses and networks
// count; when those of all fill the table, the client with most of them gives
// one up for a client that has fewer.
func (f *Fleet) Member(client string, addresses []netip.Prefix) {
	f.inside.remove(client)
	for _, a := range addresses {
		addr := a.Addr().Unmap().WithZone("")
		if !addr.IsValid() || addr.IsLoopback() {
			continue
		}
		f.inside.add(client, netip.PrefixFrom(addr, addr.BitLen()))
		if n := netip.PrefixFrom(addr, min(a.Bits(), addr.BitLen())).Masked(); isPrivate(n) {
			f.inside.add(client, n)
		}
	}
}

// Leave forgets the addresses of a client that is gone for good.
func (f *Fleet) Leave(client string) { f.inside.remove(client) }

// isPrivate reports whether a network is private from end to end: no client
// makes the internet its own by a short prefix.
func isPrivate(n netip.Prefix) bool {
	const widest = 8 // 10.0.0.0/8, fd00::/8
	return n.Bits() >= widest && (n.Addr().IsPrivate() || n.Addr().IsLinkLocalUnicast())
}

func (in *inside) add(client string, p netip.Prefix) {
	if in.clients == nil {
		in.clients, in.prefixes = map[string][]netip.Prefix{}, map[netip.Prefix]int{}
	}
	own := in.clients[client]
	if slices.Contains(own, p) {
		return
	}
	if len(own) >= insideOfClient || in.entries >= maxInside && !in.makeRoom(len(own)) {
		in.refused++
		return
	}
	in.clients[client] = append(own, p)
	in.entries++
	if in.prefixes[p]++; in.prefixes[p] == 1 {
		if in.bits[p.Bits()]++; in.bits[p.Bits()] == 1 {
			in.lengths = append(in.lengths, p.Bits())
		}
	}
}

// makeRoom takes the last entry of the client that has most, for a client that
// has so many. It reports whether one had more than that one will have.
func (in *inside) makeRoom(has int) bool {
	most := ""
	for client, own := range in.clients {
		if n := len(in.clients[most]); len(own) > n || len(own) == n && client < most {
			most = client
		}
	}
	own := in.clients[most]
	if len(own) <= has+1 {
		return false
	}
	in.refused++
	in.clients[most] = own[:len(own)-1]
	in.drop(own[len(own)-1])
	return true
}

func (in *inside) remove(client string) {
	for _, p := range in.clients[client] {
		in.drop(p)
	}
	delete(in.clients, client)
}

// drop forgets that one client said p.
func (in *inside) drop(p netip.Prefix) {
	in.entries--
	if in.prefixes[p]--; in.prefixes[p] > 0 {
		return
	}
	delete(in.prefixes, p)
	if in.bits[p.Bits()]--; in.bits[p.Bits()] == 0 {
		in.lengths = slices.DeleteFunc(in.lengths, func(bits int) bool { return bits == p.Bits() })
	}
}

// has reports whether addr is inside, or on one of the given networks.
func (in *inside) has(addr netip.Addr, networks []netip.Prefix) bool {
	addr = addr.Unmap().WithZone("")
	for _, bits := range in.lengths {
		if p, err := addr.Prefix(bits); err == nil {
			if _, ok := in.prefixes[p]; ok {
				return true
			}
		}
	}
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}
