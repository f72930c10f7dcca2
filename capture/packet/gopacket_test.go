package packet

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// TestAgreesWithGopacket decodes the captures of testdata a second time, by
// gopacket, and compares addresses, ports, flags, sequence numbers and lengths.
func TestAgreesWithGopacket(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "*.pcap"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	for _, file := range files {
		seen, compared := 0, 0
		eachOfFile(t, file, func(n int, link layers.LinkType, data []byte, wire int) {
			seen++
			var p Parsed
			p.Decode(LinkType(link), data, wire)
			theirs := gopacket.NewPacket(data, link, gopacket.NoCopy)
			if compare(t, file, n, &p, theirs) {
				compared++
			}
		})
		if seen == 0 || compared < seen*9/10 {
			t.Errorf("%s: only %d of %d packets could be compared", file, compared, seen)
		}
	}
}

func eachOfFile(t *testing.T, file string, visit func(n int, link layers.LinkType, data []byte, wire int)) {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, err := pcapgo.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		visit(n, r.LinkType(), data, info.Length)
	}
}

// compare holds a packet against gopacket's view of it; false when that knows
// no network layer.
func compare(t *testing.T, file string, n int, p *Parsed, theirs gopacket.Packet) bool {
	t.Helper()
	network := theirs.NetworkLayer()
	if network == nil {
		return false
	}
	src, _ := netip.AddrFromSlice(network.NetworkFlow().Src().Raw())
	dst, _ := netip.AddrFromSlice(network.NetworkFlow().Dst().Raw())
	if p.Src.Netip() != src || p.Dst.Netip() != dst {
		t.Errorf("%s packet %d: %v > %v, gopacket says %v > %v", file, n, p.Src, p.Dst, src, dst)
	}
	switch l := theirs.TransportLayer().(type) {
	case *layers.TCP:
		flags := map[Flags]bool{SYN: l.SYN, ACK: l.ACK, RST: l.RST, FIN: l.FIN, PSH: l.PSH, URG: l.URG}
		for flag, set := range flags {
			if (p.Flags&flag != 0) != set {
				t.Errorf("%s packet %d: flag %#x is %v for gopacket", file, n, flag, set)
			}
		}
		if p.SrcPort != uint16(l.SrcPort) || p.DstPort != uint16(l.DstPort) || p.Seq != l.Seq || p.Ack != l.Ack || p.Window != l.Window || p.PayloadLen != len(l.Payload) {
			t.Errorf("%s packet %d: %+v, gopacket says %+v", file, n, p, l)
		}
	case *layers.UDP:
		if p.SrcPort != uint16(l.SrcPort) || p.DstPort != uint16(l.DstPort) || p.PayloadLen != len(l.Payload) {
			t.Errorf("%s packet %d: ports %d > %d with %d bytes, gopacket says %+v", file, n, p.SrcPort, p.DstPort, p.PayloadLen, l)
		}
	}
	return true
}
