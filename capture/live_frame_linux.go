package capture

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"vft/capture/packet"
)

// A Linux device says by a hardware type (ARPHRD_) what its frames begin with.
// Types that are not here are handed on as Linux cooked frames, version 2: the
// kernel tells their protocol and where the network header is.
var (
	ethernetTypes = []uint16{unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK}
	rawTypes      = []uint16{unix.ARPHRD_NONE, unix.ARPHRD_RAWIP}
	wifiTypes     = []uint16{unix.ARPHRD_IEEE80211}
	prismTypes    = []uint16{unix.ARPHRD_IEEE80211_PRISM}
	radiotapTypes = []uint16{unix.ARPHRD_IEEE80211_RADIOTAP}
)

func linkOf(hardware uint16) packet.LinkType {
	switch hardware {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		return packet.LinkEthernet
	case unix.ARPHRD_NONE, unix.ARPHRD_RAWIP:
		return packet.LinkRaw
	case unix.ARPHRD_IEEE80211:
		return packet.LinkWiFi
	case unix.ARPHRD_IEEE80211_PRISM:
		return packet.LinkPrism
	case unix.ARPHRD_IEEE80211_RADIOTAP:
		return packet.LinkRadiotap
	}
	return packet.LinkSLL2
}

func hardwareOf(link packet.LinkType) []uint16 {
	switch link {
	case packet.LinkEthernet:
		return ethernetTypes
	case packet.LinkRaw:
		return rawTypes
	case packet.LinkWiFi:
		return wifiTypes
	case packet.LinkPrism:
		return prismTypes
	case packet.LinkRadiotap:
		return radiotapTypes
	}
	return nil
}

// sockaddr is struct sockaddr_ll, which follows the header of a frame.
type sockaddr struct {
	family, protocol  uint16 // protocol in network order
	index             int32
	hardware          uint16
	kind, addressSize uint8
	address           [8]uint8
}

// unpack fills p from the frame at offset at of a block, whose header is h, and
// reports whether a VLAN tag was put back. At most snaplen bytes are kept.
func unpack(block []byte, at uint32, h *unix.Tpacket3Hdr, p *Packet, snaplen int) (tagged bool) {
	from := (*sockaddr)(unsafe.Pointer(&block[at+unix.SizeofTpacket3Hdr]))
	start := at + uint32(h.Mac)
	end := start + h.Snaplen
	p.Time = int64(h.Sec)*1e9 + int64(h.Nsec)
	p.Wire = int(h.Len)
	p.Link = linkOf(from.hardware)
	switch {
	case p.Link == packet.LinkSLL2:
		start = cook(block, at+uint32(h.Net), from, p, int(h.Net)-int(h.Mac))
		end = max(end, start+sll2Length)
	case h.Status&unix.TP_STATUS_VLAN_VALID != 0 && p.Link == packet.LinkEthernet && h.Snaplen >= addressesLength:
		start = tag(block, start, h)
		p.Wire += tagLength
		tagged = true
	}
	p.Data = block[start:end:end]
	if len(p.Data) > snaplen {
		p.Data = p.Data[:snaplen]
	}
	return tagged
}

const (
	addressesLength = 12 // destination and source of an Ethernet header
	tagLength       = 4
	sll2Length      = 20
)

// tag puts the VLAN tag that the kernel took out of a frame back behind its
// addresses, which move into the free bytes before them.
func tag(block []byte, start uint32, h *unix.Tpacket3Hdr) uint32 {
	kind := uint16(unix.ETH_P_8021Q)
	if h.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		kind = h.Hv1.Vlan_tpid
	}
	b := block[start-tagLength:]
	copy(b[:addressesLength], b[tagLength:])
	binary.BigEndian.PutUint16(b[addressesLength:], kind)
	binary.BigEndian.PutUint16(b[addressesLength+2:], uint16(h.Hv1.Vlan_tci))
	return start - tagLength
}

// cook writes a Linux cooked header, version 2 (LINKTYPE_LINUX_SLL2), in front
// of the network header at network, over a link header of size bytes. The
// kernel keeps 28 bytes or more between the sockaddr_ll and the network header.
func cook(block []byte, network uint32, from *sockaddr, p *Packet, size int) uint32 {
	about := *from
	start := network - sll2Length
	b := block[start:network]
	binary.NativeEndian.PutUint16(b, about.protocol)
	binary.BigEndian.PutUint16(b[2:], 0)
	binary.BigEndian.PutUint32(b[4:], uint32(about.index))
	binary.BigEndian.PutUint16(b[8:], about.hardware)
	b[10], b[11] = about.kind, about.addressSize
	copy(b[12:], about.address[:])
	p.Wire += sll2Length - size
	return start
}
