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
