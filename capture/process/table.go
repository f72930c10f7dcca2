package process

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
)

// socket is one line of a table of the kernel.
type socket struct {
	tuple
	state uint8
	uid   uint32
	inode uint64 // 0: no process holds it any more
}

// parseTable reads a file of /proc/net (tcp, tcp6, udp, udp6; proc_net_tcp.rst
// of the kernel). Lines that make no sense are left out. At most limit sockets
// are read.
func parseTable(p proto, text []byte, limit int) []socket {
	var list []socket
	for line := range bytes.Lines(text) {
		if len(list) == limit {
			break
		}
		if s, ok := parseLine(p, bytes.Fields(line)); ok {
			list = append(list, s)
		}
	}
	return list
}

func parseLine(p proto, fields [][]byte) (s socket, ok bool) {
	const local, remote, state, uid, inode = 1, 2, 3, 7, 9
	if len(fields) <= inode {
		return s, false
	}
	from, okLocal := parseEnd(fields[local])
	to, okRemote := parseEnd(fields[remote])
	st, err1 := strconv.ParseUint(string(fields[state]), 16, 8)
	user, err2 := strconv.ParseUint(string(fields[uid]), 10, 32)
	node, err3 := strconv.ParseUint(string(fields[inode]), 10, 64)
	if !okLocal || !okRemote || err1 != nil || err2 != nil || err3 != nil {
		return s, false
	}
	return socket{newTuple(p, from, to), uint8(st), uint32(user), node}, true
}

// parseEnd reads "0100007F:0035": words of the address as numbers of this
// machine, in hex, and the port.
func parseEnd(text []byte) (netip.AddrPort, bool) {
	host, port, found := bytes.Cut(text, []byte(":"))
	if !found || len(host) != 8 && len(host) != 32 {
		return netip.AddrPort{}, false
	}
	number, err := strconv.ParseUint(string(port), 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	var raw [16]byte
	for at := 0; at < len(host); at += 8 {
		word, err := strconv.ParseUint(string(host[at:at+8]), 16, 32)
		if err != nil {
			return netip.AddrPort{}, false
		}
		binary.NativeEndian.PutUint32(raw[at/2:], uint32(word))
	}
	addr, _ := netip.AddrFromSlice(raw[:len(host)/2])
	return netip.AddrPortFrom(addr, uint16(number)), true
}

// best picks the socket of a table that takes what comes from t.remote to
// t.local, as the kernel does: an exact match, then one that waits on the
// address, then one that waits on any. nil: there is none.
func best(table []socket, t tuple) *socket {
	var found *socket
	score := 0
	for i := range table {
		if n := match(&table[i].tuple, t); n > score {
			found, score = &table[i], n
		}
	}
	return found
}

func match(have *tuple, t tuple) int {
	switch {
	case have.proto != t.proto || have.local.Port() != t.local.Port():
		return 0
	case *have == t:
		return 4
	case have.remote.Port() != 0:
		return 0
	case have.local.Addr() == t.local.Addr():
		return 3
	case have.local.Addr().IsUnspecified() && have.local.Addr().Is4() == t.local.Addr().Is4():
		return 2
	case have.local.Addr() == netip.IPv6Unspecified():
		return 1 // takes IPv4 as well, unless it was told not to
	}
	return 0
}
