package main

import (
	"bytes"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// start is the time of the first packet.
var start = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// frame is one packet at a time after start.
type frame struct {
	at   time.Duration
	data []byte
}

// capture collects frames in any order.
type capture struct {
	frames []frame
	random *rand.Rand
	err    error
}

func newCapture() *capture { return &capture{random: rand.New(rand.NewPCG(1, 2))} }

// bytes returns the pcap file.
func (c *capture) bytes() ([]byte, error) {
	if c.err != nil {
		return nil, c.err
	}
	slices.SortStableFunc(c.frames, func(a, b frame) int { return int(a.at - b.at) })
	var out bytes.Buffer
	w := pcapgo.NewWriter(&out)
	if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		return nil, err
	}
	for _, f := range c.frames {
		info := gopacket.CaptureInfo{Timestamp: start.Add(f.at), CaptureLength: len(f.data), Length: len(f.data)}
		if err := w.WritePacket(info, f.data); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// add serializes the layers below Ethernet.
func (c *capture) add(at time.Duration, etherType layers.EthernetType, from, to net.HardwareAddr, rest ...gopacket.SerializableLayer) {
	all := append([]gopacket.SerializableLayer{&layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: etherType}}, rest...)
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		c.err = err
		return
	}
	data := bytes.Clone(buf.Bytes())
	if short := 60 - len(data); short > 0 { // Ethernet pads
		data = append(data, make([]byte, short)...)
	}
	c.frames = append(c.frames, frame{at, data})
}

// mac makes a hardware address of the last byte of an address.
func mac(ip net.IP) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, ip[len(ip)-1]} }

// network is the IP layer from src to dst, of either family.
func network(src, dst net.IP, proto layers.IPProtocol, id uint16) (gopacket.SerializableLayer, gopacket.NetworkLayer, layers.EthernetType) {
	if src.To4() != nil {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: src, DstIP: dst, Id: id, Flags: layers.IPv4DontFragment}
		return ip, ip, layers.EthernetTypeIPv4
	}
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: src, DstIP: dst}
	return ip, ip, layers.EthernetTypeIPv6
}

// tcp adds a segment.
func (c *capture) tcp(at time.Duration, src, dst net.IP, segment layers.TCP, payload []byte) {
	ip, below, kind := network(src, dst, layers.IPProtocolTCP, uint16(c.random.Uint32()))
	c.err = first(c.err, segment.SetNetworkLayerForChecksum(below))
	c.add(at, kind, mac(src), mac(dst), ip, &segment, gopacket.Payload(payload))
}

// udp adds a datagram.
func (c *capture) udp(at time.Duration, src, dst net.IP, sport, dport uint16, payload []byte) {
	ip, below, kind := network(src, dst, layers.IPProtocolUDP, uint16(c.random.Uint32()))
	datagram := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
	c.err = first(c.err, datagram.SetNetworkLayerForChecksum(below))
	c.add(at, kind, mac(src), mac(dst), ip, datagram, gopacket.Payload(payload))
}

// ping adds an echo request and its reply.
func (c *capture) ping(at time.Duration, src, dst net.IP, sequence uint16) {
	for i, kind := range []uint8{layers.ICMPv4TypeEchoRequest, layers.ICMPv4TypeEchoReply} {
		ip, _, etherType := network(src, dst, layers.IPProtocolICMPv4, sequence)
		echo := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0), Id: 7, Seq: sequence}
		c.add(at+time.Duration(i)*time.Millisecond, etherType, mac(src), mac(dst), ip, echo, gopacket.Payload(make([]byte, 48)))
		src, dst = dst, src
	}
}

// arp adds a question and its answer.
func (c *capture) arp(at time.Duration, src, dst net.IP) {
	question := layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: layers.ARPRequest, SourceHwAddress: mac(src), SourceProtAddress: src.To4(),
		DstHwAddress: make([]byte, 6), DstProtAddress: dst.To4()}
	answer := question
	answer.Operation = layers.ARPReply
	answer.SourceHwAddress, answer.SourceProtAddress = mac(dst), dst.To4()
	answer.DstHwAddress, answer.DstProtAddress = mac(src), src.To4()
	c.add(at, layers.EthernetTypeARP, mac(src), net.HardwareAddr{255, 255, 255, 255, 255, 255}, &question)
	c.add(at+200*time.Microsecond, layers.EthernetTypeARP, mac(dst), mac(src), &answer)
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
