package packet

import (
	"encoding/binary"
	"net/netip"
)

// Addr is an IPv4 or IPv6 address without a pointer, for keys of large tables:
// the sixteen bytes of an IPv6 address in network order as two numbers. IPv4 is
// held as 4-in-6 (::ffff:a.b.c.d), so one host has one key. The zero Addr is
// the address "::".
type Addr struct{ Hi, Lo uint64 }

const mapped4 = 0xffff << 32

// AddrFrom turns a into an Addr; zones are dropped.
func AddrFrom(a netip.Addr) Addr {
	b := a.As16()
	return addr6(b[:])
}

// Is4 reports whether a is an IPv4 address.
func (a Addr) Is4() bool { return a.Hi == 0 && a.Lo>>32 == 0xffff }

// Netip returns a as a netip.Addr, IPv4 as plain IPv4.
func (a Addr) Netip() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
	return netip.AddrFrom16(b).Unmap()
}

// V4 returns the four bytes of an IPv4 address as a number.
func (a Addr) V4() uint32 { return uint32(a.Lo) }

// Less orders addresses by their bytes, IPv4 among the 4-in-6 addresses.
func (a Addr) Less(b Addr) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// String returns the address in its usual text form.
func (a Addr) String() string { return a.Netip().String() }

// Addr4 returns the IPv4 address whose four bytes are v, in network order.
func Addr4(v uint32) Addr { return Addr{0, mapped4 | uint64(v)} }

func addr6(b []byte) Addr {
	_ = b[15]
	return Addr{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}
