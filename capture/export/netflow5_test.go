package export

import (
	"net/netip"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
)

var router = netip.MustParseAddrPort("192.0.2.1:2055")

// sentAt is when the datagrams of the tests are sent, by their exporter's clock.
var sentAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestFixedRecord(t *testing.T) {
	cases := []struct {
		version flow.Version
		why     string
	}{
		{flow.NetFlow1, "no sequence, flags after the protocol"},
		{flow.NetFlow5, "the usual one"},
		{flow.NetFlow7, "four bytes longer than version 5"},
	}
	for _, c := range cases {
		d := NewDecoder(Config{})
		got := d.Datagram(router, fixedDatagram(c.version, 2, 100), sentAt.UnixNano(), nil)
		if len(got) != 2 {
			t.Fatalf("%v: %d records, want 2 (%s)", c.version, len(got), c.why)
		}
		want := flow.Record{
			Key: flow.Key{
				Src: packet.AddrFrom(netip.MustParseAddr("10.0.0.1")), Dst: packet.AddrFrom(netip.MustParseAddr("10.0.0.2")),
				SrcPort: 1025, DstPort: 25, Proto: 6, Ports: true,
			},
			Fwd:    flow.Side{Packets: 4, Bytes: 240, Flags: packet.SYN | packet.ACK},
			First:  sentAt.Add(-3 * time.Second).UnixNano(),
			Last:   sentAt.Add(-1 * time.Second).UnixNano(),
			End:    flow.Finished,
			Export: flow.Export{Exporter: packet.AddrFrom(router.Addr()), Version: c.version},
		}
		if c.version == flow.NetFlow5 {
			want.Export.Domain = 0x0102
		}
		if got[1] != want {
			t.Errorf("%v:\n got %+v\nwant %+v (%s)", c.version, got[1], want, c.why)
		}
	}
}

func TestFixedBroken(t *testing.T) {
	five := fixedDatagram(flow.NetFlow5, 3, 0)
	many := append([]byte{}, five...)
	be.PutUint16(many[2:], 65535)
	few := append([]byte{}, five...)
	be.PutUint16(few[2:], 1)
	one := fixedDatagram(flow.NetFlow1, 3, 0)
	short := append([]byte{}, one[:16]...)
	for i := range 3 {
		short = append(short, one[16+i*52:][:48]...)
	}
	cases := []struct {
		datagram []byte
		records  int
		counter  string
		why      string
	}{
		{five[:23], 0, "short_header", "no header"},
		{five[:24], 0, "cut_short", "a header alone"},
		{five[:24+47], 0, "cut_short", "less than a record"},
		{five[:24+100], 2, "cut_short", "two records and a piece"},
		{many, 3, "cut_short", "states 65535 records"},
		{few, 1, "datagrams", "states fewer than it has"},
		{append(five[:len(five):len(five)], 1, 2, 3), 3, "datagrams", "more behind"},
		{one, 3, "datagrams", "version 1 with 52 bytes a record"},
		{short, 3, "datagrams", "version 1 with 48 bytes a record"},
		{one[:15], 0, "short_header", ""},
	}
	for _, c := range cases {
		d := NewDecoder(Config{})
		got := feed(d, c.datagram)
		if len(got) != c.records || countOf(d, c.counter) != 1 {
			t.Errorf("%d bytes: %d records, want %d and %s: %v (%s)", len(c.datagram), len(got), c.records, c.counter, counted(d), c.why)
		}
		for _, r := range got {
			if r.Src != addr("10.0.0.1") || r.DstPort != 25 || r.Fwd.Bytes != 240 || r.Fwd.Flags != packet.SYN|packet.ACK {
				t.Errorf("%d bytes: %+v (%s)", len(c.datagram), r, c.why)
			}
		}
		if good := feed(d, five); len(good) != 3 {
			t.Errorf("%d bytes: the next good datagram has %d records", len(c.datagram), len(good))
		}
	}
}
