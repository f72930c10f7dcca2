package traps

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"vft/event"
)

// SYN is the header of a packet that asks for a TCP connection, as ParseSYN
// reads it. It refers to no memory of the packet.
type SYN struct {
	Src, Dst netip.AddrPort
	Seq      uint32
	TTL      uint8  // hop limit for IPv6
	IPID     uint16 // 0 for IPv6
	DF       bool   // false for IPv6
	Window   uint16
	MSS      uint16 // valid when HasMSS
	HasMSS   bool
	Scale    uint8 // window scale shift; valid when HasScale
	HasScale bool

	kinds [40]uint8 // option kinds in order, padding included
	n     uint8
}

// The kinds of TCP option that matter here (RFC 9293 section 3.1, RFC 7323).
const (
	optionEnd   = 0
	optionNop   = 1
	optionMSS   = 2
	optionScale = 3
)

// ParseSYN reads an IPv4 or IPv6 packet that begins with its IP header, as
// TCP_SAVED_SYN returns it. It is not ok when the packet is cut inside a
// header, is a later fragment, is not TCP, or is not a SYN without ACK.
func ParseSYN(ip []byte) (syn SYN, ok bool) {
	if len(ip) == 0 {
		return SYN{}, false
	}
	var tcp []byte
	switch ip[0] >> 4 {
	case 4:
		tcp = syn.parseIPv4(ip)
	case 6:
		tcp = syn.parseIPv6(ip)
	}
	if len(tcp) < 20 || !syn.parseTCP(tcp) {
		return SYN{}, false
	}
	return syn, true
}

// parseIPv4 returns the TCP header and what follows, nil when there is none.
func (s *SYN) parseIPv4(ip []byte) []byte {
	size := int(ip[0]&15) * 4
	if size < 20 || len(ip) < size || ip[9] != 6 {
		return nil
	}
	fragment := binary.BigEndian.Uint16(ip[6:])
	if fragment&0x1fff != 0 {
		return nil
	}
	s.TTL, s.IPID, s.DF = ip[8], binary.BigEndian.Uint16(ip[4:]), fragment&0x4000 != 0
	s.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[12:])), 0)
	s.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[16:])), 0)
	return ip[size:]
}

// parseIPv6 returns the TCP header and what follows, nil when there is none.
// Addresses that carry IPv4 become plain IPv4.
func (s *SYN) parseIPv6(ip []byte) []byte {
	if len(ip) < 40 {
		return nil
	}
	s.TTL = ip[7]
	s.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(ip[8:])).Unmap(), 0)
	s.Dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(ip[24:])).Unmap(), 0)
	next, rest := ip[6], ip[40:]
	for next != 6 {
		// Each extension header takes at least 8 bytes, so this ends.
		if len(rest) < 8 {
			return nil
		}
		size := 8
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			size = 8 + int(rest[1])*8
		case 44: // fragment: only the first holds the TCP header
			if binary.BigEndian.Uint16(rest[2:])&0xfff8 != 0 {
				return nil
			}
		default:
			return nil
		}
		if len(rest) < size {
			return nil
		}
		next, rest = rest[0], rest[size:]
	}
	return rest
}

// parseTCP reads a TCP header of at least 20 bytes; false when it is no SYN or
// its options are cut.
func (s *SYN) parseTCP(b []byte) bool {
	const syn, ack = 2, 16
	size := int(b[12]>>4) * 4
	if size < 20 || len(b) < size || b[13]&(syn|ack) != syn {
		return false
	}
	s.Src = netip.AddrPortFrom(s.Src.Addr(), binary.BigEndian.Uint16(b))
	s.Dst = netip.AddrPortFrom(s.Dst.Addr(), binary.BigEndian.Uint16(b[2:]))
	s.Seq, s.Window = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint16(b[14:])
	s.parseOptions(b[20:size])
	return true
}

// parseOptions reads at most 40 bytes. A bad length ends the list, as it does
// in the kernels; what came before it stays.
func (s *SYN) parseOptions(b []byte) {
	for len(b) > 0 {
		kind, size := b[0], 1
		if kind != optionEnd && kind != optionNop {
			if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
				return
			}
			size = int(b[1])
		}
		s.kinds[s.n] = kind
		s.n++
		switch {
		case kind == optionMSS && size == 4:
			s.MSS, s.HasMSS = binary.BigEndian.Uint16(b[2:]), true
		case kind == optionScale && size == 3:
			s.Scale, s.HasScale = b[2], true
		}
		b = b[size:]
	}
}

// Options returns the kinds of the TCP options in order. It is valid as long
// as s is.
func (s *SYN) Options() []uint8 { return s.kinds[:s.n] }

// AppendJA4T appends the JA4T fingerprint: window, option kinds, MSS and window
// scale, in decimal, "00" for each that is absent (FoxIO, JA4T: TCP
// Fingerprint). It is at most 177 bytes.
func (s *SYN) AppendJA4T(b []byte) []byte {
	b = append(strconv.AppendUint(b, uint64(s.Window), 10), '_')
	if b = s.appendOptions(b); s.n == 0 {
		b = append(b, "00"...)
	}
	b = appendOrZero(append(b, '_'), uint64(s.MSS), s.HasMSS)
	return appendOrZero(append(b, '_'), uint64(s.Scale), s.HasScale)
}

func (s *SYN) appendOptions(b []byte) []byte {
	for i, kind := range s.Options() {
		if i > 0 {
			b = append(b, '-')
		}
		b = strconv.AppendUint(b, uint64(kind), 10)
	}
	return b
}

func appendOrZero(b []byte, value uint64, present bool) []byte {
	if !present {
		return append(b, "00"...)
	}
	return strconv.AppendUint(b, value, 10)
}

// Details returns s as an Event carries it.
func (s *SYN) Details() event.SYN {
	var buffer [192]byte
	ja4t := string(s.AppendJA4T(buffer[:0]))
	details := event.SYN{
		TTL: s.TTL, IPID: s.IPID, DF: s.DF, Window: s.Window, MSS: s.MSS, Scale: s.Scale,
		JA4T: ja4t, Class: s.Class(),
	}
	if s.n > 0 {
		// The kinds stand in the middle of JA4T already: no second string.
		start := 1
		for ja4t[start-1] != '_' {
			start++
		}
		end := start
		for ja4t[end] != '_' {
			end++
		}
		details.Options = ja4t[start:end]
	}
	return details
}
