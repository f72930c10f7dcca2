// Package packet decodes the headers of a captured packet, link layer to
// transport, into one reused Parsed. It allocates nothing, returns no error and
// never panics: what cannot be read is a value of the result.
//
// The outermost network layer decides what a packet is. Behind VLAN tags, MPLS,
// PPP and the like that is the first IP header; in GRE, VXLAN and IP-in-IP it
// is the outer header, unless Parsed.Inner asks for the innermost one.
package packet

// Network is the network layer that Decode found.
type Network uint8

// The network layers.
const (
	NonIP Network = iota // no IP and no ARP header was found
	IPv4
	IPv6
	ARP // ARP and RARP
)

// String returns "non-ip", "ipv4", "ipv6" or "arp".
func (n Network) String() string {
	return nameOf(uint8(n), "non-ip", "ipv4", "ipv6", "arp")
}

// Transport is the transport layer whose header Decode read.
type Transport uint8

// The transport layers.
const (
	NoTransport Transport = iota // none, or none of its header was captured, or a later fragment
	TCP
	UDP
	SCTP
	ICMP
	ICMPv6
	OtherTransport // a protocol without a decoder here: Proto names it
)

// String returns "tcp", "udp" and so on; "none" and "other" for the rest.
func (t Transport) String() string {
	return nameOf(uint8(t), "none", "tcp", "udp", "sctp", "icmp", "icmpv6", "other")
}

// Flags are the low eight flag bits of a TCP header (RFC 9293 section 3.1).
type Flags uint8

// The TCP flags.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Fault says why decoding stopped early.
type Fault uint8

// The faults. Cut is no fault of the sender: the capture kept too few bytes.
const (
	NoFault        Fault = iota
	Cut                  // the capture kept fewer bytes than the headers need
	ShortLink            // a link header is longer than the frame
	BadNetwork           // an IP or ARP header is inconsistent: version, header or total length
	BadTransport         // a transport header is inconsistent or longer than its packet
	UnknownLink          // no decoder for this link type
	UnknownNetwork       // no decoder for this network protocol
)

// String returns the fault in words, as a counter label.
func (f Fault) String() string {
	return nameOf(uint8(f), "none", "cut", "short_link", "bad_network", "bad_transport", "unknown_link", "unknown_network")
}

// Malformed reports whether the bytes contradict their protocol. Cut packets
// and unknown protocols are not malformed.
func (f Fault) Malformed() bool { return f == ShortLink || f == BadNetwork || f == BadTransport }

// Parsed holds the headers of one packet. One goroutine reuses one Parsed for
// all its packets. Each field says when it is valid; all are valid until the
// next Decode.
type Parsed struct {
	// Inner is an option, kept over Decode: describe the innermost IP packet of
	// GRE, VXLAN, Geneve, GTP-U, IP-in-IP and AH instead of the outer one.
	Inner bool

	Link LinkType // as given to Decode
	Data []byte   // the captured frame, as given to Decode; not owned
	Wire int      // bytes on the wire, as given: some captures state fewer than they hold

	Fault Fault

	// Link layer. Valid iff HasMAC.
	HasMAC bool
	SrcMAC [6]byte
	DstMAC [6]byte

	EtherType uint16    // of the network layer, tags and labels removed; 0 when the link has none
	VLANs     uint8     // VLAN tags on the frame
	VLAN      [2]uint16 // ids of the outermost two; valid for i < VLANs
	LinkOff   int       // where the innermost link header starts in Data

	// Network layer. The addresses are valid iff HasAddrs, and then also for ARP
	// (sender and target); of a broken IP header they are zero.
	Network    Network
	HasAddrs   bool
	Src, Dst   Addr
	NetOff     int   // where the network header starts in Data; valid iff Network != NonIP
	NetLen     int   // total length that the IP header states. 0 in IPv4 is read as "to the end" (segmentation offload)
	TTL        uint8 // hop limit for IPv6; valid iff IP
	TOS        uint8 // traffic class for IPv6; valid iff IP
	Proto      uint8 // IP protocol after the extension headers; valid iff ProtoOK
	ProtoOK    bool
	NextHeader uint8 // protocol field of the IP header itself; valid iff IP

	// Fragments. Valid iff IP.
	Fragment   bool   // any fragment, first ones included
	MoreFrags  bool   // more follow
	FragOffset uint16 // in bytes; > 0: a later fragment, with no transport header
	ID         uint32 // IPv4 identification; for IPv6 valid iff Fragment
	DontFrag   bool   // IPv4 only

	// Transport layer. Ports are valid iff HasPorts.
	Transport        Transport
	HasPorts         bool
	SrcPort, DstPort uint16
	TransOff         int // where the transport header starts in Data; valid iff Transport != NoTransport

	// TCP. Valid iff HasFlags: the fixed header was captured up to the window.
	HasFlags bool
	Flags    Flags
	Seq, Ack uint32
	Window   uint16

	// ICMP and ICMPv6. Valid iff HasICMP.
	HasICMP  bool
	ICMPType uint8
	ICMPCode uint8

	// Payload of the transport layer, or of the network layer when there is no
	// transport header. PayloadLen is what the headers state, in bytes on the
	// wire; Payload gives the captured part.
	PayloadLen int
	payloadOff int
	payloadEnd int

	// ARP (RFC 826, Ethernet and IPv4 only). Valid iff Network == ARP and HasARP.
	HasARP    bool
	ARPOp     uint16 // 1 request, 2 reply
	ARPSender [6]byte
	ARPTarget [6]byte
}

// IP reports whether the packet has an IPv4 or IPv6 header with addresses.
func (p *Parsed) IP() bool { return p.HasAddrs && p.Network != ARP }

// LaterFragment reports whether the packet is a fragment without a transport header.
func (p *Parsed) LaterFragment() bool { return p.FragOffset > 0 }

// Payload returns the captured part of the payload, at most PayloadLen bytes.
// It is valid until the next Decode, or as long as the frame.
func (p *Parsed) Payload() []byte { return p.Data[p.payloadOff:p.payloadEnd] }

// SYNOnly reports whether the packet opens a TCP connection: SYN without ACK.
func (p *Parsed) SYNOnly() bool { return p.HasFlags && p.Flags&(SYN|ACK) == SYN }

// Decode reads the headers of one frame. data is what was captured of it and
// wire its length on the wire in bytes. Decode keeps data until the next call.
func (p *Parsed) Decode(link LinkType, data []byte, wire int) {
	*p = Parsed{Inner: p.Inner, Link: link, Data: data, Wire: wire}
	p.decodeLink(link, data)
}

// at returns the offset in Data of b, which was sliced from it: b may end before
// Data does, so the capacity tells.
func (p *Parsed) at(b []byte) int { return cap(p.Data) - cap(b) }

// wire returns the length of the frame, when the stated one cannot be right.
func (p *Parsed) wire() int { return max(p.Wire, len(p.Data)) }

// short notes that b ended before a header did: the capture cut it when it cut
// the frame, else the frame is at fault.
func (p *Parsed) short(f Fault) {
	if p.Wire > len(p.Data) {
		f = Cut
	}
	if p.Fault == NoFault {
		p.Fault = f
	}
}

func (p *Parsed) fault(f Fault) {
	if p.Fault == NoFault {
		p.Fault = f
	}
}

func nameOf(i uint8, names ...string) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown"
}
