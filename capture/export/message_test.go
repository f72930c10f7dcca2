package export

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
)

// feed decodes datagrams from router, one second apart.
func feed(d *Decoder, datagrams ...[]byte) (got []flow.Record) {
	for i, b := range datagrams {
		got = d.Datagram(router, b, sentAt.UnixNano()+int64(i)*second, got)
	}
	return got
}

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

func TestUsualRecord(t *testing.T) {
	want := flow.Record{
		Key:   flow.Key{Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), SrcPort: 1025, DstPort: 25, Proto: 6, Ports: true},
		Fwd:   flow.Side{Packets: 4, Bytes: 240, Flags: packet.SYN | packet.ACK},
		First: sentAt.Add(-3 * time.Second).UnixNano(),
		Last:  sentAt.Add(-1 * time.Second).UnixNano(),
		End:   flow.Finished,
	}
	for version, datagrams := range map[flow.Version][2][]byte{
		flow.NetFlow9: {netflow9Of(7, 0, set(0, templateOf(256, usual...))), netflow9Of(7, 1, set(256, usualRecord(), usualRecord(), []byte{0, 0, 0}))},
		flow.IPFIX:    {ipfixOf(7, 0, set(2, templateOf(256, modern...))), ipfixOf(7, 0, set(256, modernRecord(), modernRecord(), []byte{0, 0, 0}))},
	} {
		want.Export = flow.Export{Exporter: addr("192.0.2.1"), Domain: 7, Version: version}
		got := feed(NewDecoder(Config{}), datagrams[:]...)
		if len(got) != 2 || got[0] != want || got[1] != want {
			t.Errorf("%v:\n got %+v\nwant twice %+v", version, got, want)
		}
	}
}

// one decodes one record of fields and their values, of a flow from 10.0.0.1 to
// 10.0.0.2; the zero Record: it is no flow.
func one(version flow.Version, fields []spec, values ...[]byte) flow.Record {
	fields = append([]spec{{8, 4, 0}, {12, 4, 0}}, fields...)
	data := set(300, append([][]byte{{10, 0, 0, 1, 10, 0, 0, 2}}, values...)...)
	datagram := ipfixOf(1, 0, set(2, templateOf(300, fields...)), data)
	if version == flow.NetFlow9 {
		datagram = netflow9Of(1, 0, set(0, templateOf(300, fields...)), data)
	}
	got := feed(NewDecoder(Config{}), datagram)
	if len(got) != 1 {
		return flow.Record{}
	}
	return got[0]
}

func u16(n uint16) []byte { return be.AppendUint16(nil, n) }
func u32(n uint32) []byte { return be.AppendUint32(nil, n) }
func u64(n uint64) []byte { return be.AppendUint64(nil, n) }

func TestSides(t *testing.T) {
	const v9, x = flow.NetFlow9, flow.IPFIX
	cases := []struct {
		version  flow.Version
		fields   []spec
		values   [][]byte
		fwd, rev [2]uint64 // packets, bytes
		why      string
	}{
		{v9, []spec{{2, 4, 0}, {1, 4, 0}}, [][]byte{u32(3), u32(180)}, [2]uint64{3, 180}, [2]uint64{}, "one direction"},
		{v9, []spec{{1, 4, 0}, {23, 4, 0}, {2, 4, 0}, {24, 4, 0}}, [][]byte{u32(180), u32(0), u32(3), u32(0)}, [2]uint64{3, 180}, [2]uint64{}, "zero OUT_BYTES behind IN_BYTES take nothing away"},
		{v9, []spec{{23, 4, 0}, {1, 4, 0}, {24, 4, 0}, {2, 4, 0}}, [][]byte{u32(0), u32(180), u32(0), u32(3)}, [2]uint64{3, 180}, [2]uint64{}, "nor before"},
		{v9, []spec{{1, 4, 0}, {23, 4, 0}, {2, 4, 0}, {24, 4, 0}}, [][]byte{u32(180), u32(90), u32(3), u32(1)}, [2]uint64{3, 180}, [2]uint64{1, 90}, "both: a session"},
		{x, []spec{{1, 4, 0}, {23, 4, 0}, {2, 4, 0}, {24, 4, 0}}, [][]byte{u32(180), u32(90), u32(3), u32(1)}, [2]uint64{3, 180}, [2]uint64{}, "in IPFIX: the same packets, changed on the way"},
		{v9, []spec{{23, 4, 0}, {24, 4, 0}}, [][]byte{u32(180), u32(3)}, [2]uint64{3, 180}, [2]uint64{}, "seen leaving"},
		{x, []spec{{231, 8, 0}, {232, 8, 0}, {298, 8, 0}, {299, 8, 0}}, [][]byte{u64(1000), u64(2000), u64(10), u64(20)}, [2]uint64{10, 1000}, [2]uint64{20, 2000}, "initiator and responder"},
		{x, []spec{{1, 4, 0}, {2, 4, 0}, {1, 4, reversePEN}, {2, 4, reversePEN}}, [][]byte{u32(180), u32(3), u32(60), u32(1)}, [2]uint64{3, 180}, [2]uint64{1, 60}, "biflow of RFC 5103"},
		{x, []spec{{1, 4, 0}, {2, 4, 0}, {1, 4, 9999}, {2, 65535, 9999}}, [][]byte{u32(180), u32(3), u32(7), {3, 1, 2, 3}}, [2]uint64{3, 180}, [2]uint64{}, "the fields of another enterprise"},
		{x, []spec{{85, 4, 0}, {86, 4, 0}, {1, 4, 0}, {2, 4, 0}}, [][]byte{u32(9999), u32(99), u32(180), u32(3)}, [2]uint64{3, 180}, [2]uint64{}, "differences before totals"},
		{x, []spec{{85, 4, 0}, {86, 4, 0}}, [][]byte{u32(180), u32(3)}, [2]uint64{3, 180}, [2]uint64{}, "totals alone"},
		{x, []spec{{1, 3, 0}, {2, 5, 0}}, [][]byte{{0, 1, 0}, {0, 0, 0, 0, 2}}, [2]uint64{2, 256}, [2]uint64{}, "numbers of unusual length"},
		{x, []spec{{352, 8, 0}, {2, 4, 0}}, [][]byte{u64(1000), u32(10)}, [2]uint64{10, 860}, [2]uint64{}, "frames, without their Ethernet headers"},
		{x, []spec{{1, 0, 0}, {2, 4, 0}}, [][]byte{u32(3)}, [2]uint64{3, 0}, [2]uint64{}, "a field of no length"},
		{x, []spec{{1, 12, 0}, {2, 4, 0}}, [][]byte{make([]byte, 12), u32(3)}, [2]uint64{3, 0}, [2]uint64{}, "a number too long to be one"},
	}
	for _, c := range cases {
		r := one(c.version, c.fields, c.values...)
		if fwd, rev := [2]uint64{r.Fwd.Packets, r.Fwd.Bytes}, [2]uint64{r.Rev.Packets, r.Rev.Bytes}; fwd != c.fwd || rev != c.rev || r.Src != addr("10.0.0.1") {
			t.Errorf("%v %v: %v and %v, want %v and %v (%s)", c.version, c.fields, fwd, rev, c.fwd, c.rev, c.why)
		}
	}
}

func TestAddresses(t *testing.T) {
	four, six := []byte{192, 0, 2, 9, 192, 0, 2, 8}, append(addrBytes("2001:db8::9"), addrBytes("2001:db8::8")...)
	v4, v6 := []spec{{8, 4, 0}, {12, 4, 0}}, []spec{{27, 16, 0}, {28, 16, 0}}
	cases := []struct {
		fields   []spec
		value    []byte
		src, dst string
		why      string
	}{
		{v4, four, "192.0.2.9", "192.0.2.8", ""},
		{v6, six, "2001:db8::9", "2001:db8::8", ""},
		{append(v4[:2:2], v6...), append(four[:8:8], make([]byte, 32)...), "192.0.2.9", "192.0.2.8", "the other version is zero"},
		{append(v6[:2:2], v4...), append(six[:32:32], make([]byte, 8)...), "2001:db8::9", "2001:db8::8", "the other version is zero"},
		{append(v6[:2:2], v4...), append(six[:32:32], four...), "192.0.2.9", "192.0.2.8", "the inner header of a tunnel"},
		{v4, make([]byte, 8), "0.0.0.0", "0.0.0.0", "a DHCP client has none yet"},
		{append(v4[:2:2], v6...), make([]byte, 40), "0.0.0.0", "0.0.0.0", "zero in both"},
		{[]spec{{366, 4, 0}, {61, 1, 0}}, []byte{192, 0, 2, 9, 0}, "192.0.2.9", "0.0.0.0", "a wireless client sends"},
		{[]spec{{366, 4, 0}, {61, 1, 0}}, []byte{192, 0, 2, 9, 1}, "0.0.0.0", "192.0.2.9", "a wireless client receives"},
		{[]spec{{8, 4, 0}, {12, 4, 0}, {8, 4, 0}}, append(four[:8:8], 192, 0, 2, 7), "192.0.2.7", "192.0.2.8", "the last of several is the innermost"},
	}
	for _, c := range cases {
		got := feed(NewDecoder(Config{}), ipfixOf(1, 0, set(2, templateOf(300, append(c.fields, spec{2, 1, 0})...)), set(300, c.value, []byte{1})))
		if len(got) != 1 || got[0].Src != addr(c.src) || got[0].Dst != addr(c.dst) {
			t.Errorf("%v: %+v, want %s to %s (%s)", c.fields, got, c.src, c.dst, c.why)
		}
	}
}

func TestNoFlow(t *testing.T) {
	cases := []struct {
		fields []spec
		values [][]byte
		why    string
		other  bool
	}{
		{[]spec{{233, 1, 0}, {1, 4, 0}}, [][]byte{{1}, u32(0)}, "a firewall will report the session when it ends", true},
		{[]spec{{40005, 1, 0}}, [][]byte{{1}}, "the same, of Cisco ASA", true},
		{[]spec{{233, 1, 0}, {1, 4, 0}}, [][]byte{{1}, u32(60)}, "it has carried something", false},
		{[]spec{{233, 1, 0}, {1, 4, 0}}, [][]byte{{3}, u32(0)}, "refused: an attempt to connect", false},
		{[]spec{{233, 1, 0}, {1, 4, 0}}, [][]byte{{2}, u32(0)}, "ended without data: an attempt too", false},
		{[]spec{{230, 1, 0}}, [][]byte{{4}}, "a translation", true},
		{[]spec{{2, 1, 0}}, [][]byte{{0}}, "no event, no counters", false},
	}
	for _, c := range cases {
		if got := one(flow.NetFlow9, c.fields, c.values...); (got == flow.Record{}) != c.other {
			t.Errorf("%v %v: %+v (%s)", c.fields, c.values, got, c.why)
		}
	}
	d := NewDecoder(Config{})
	if got := feed(d, ipfixOf(1, 0, set(2, templateOf(300, spec{10, 4, 0}, spec{1, 8, 0})), set(300, make([]byte, 24)))); len(got) != 0 || countOf(d, "other_records") != 2 {
		t.Errorf("%d records, %d others; want 0, 2 (counters of an interface have no addresses)", len(got), countOf(d, "other_records"))
	}
}

// Piece of a packet in place of addresses and counters, as inline monitoring and
// sampling by IPFIX send them.
func TestSection(t *testing.T) {
	frame := ethernet(0x0800, 0, tcp4(40, 2))
	for id, piece := range map[uint16][]byte{315: frame, 313: frame[14:]} {
		r := feed(NewDecoder(Config{}), ipfixOf(1, 0, set(2, templateOf(300, spec{312, 2, 0}, spec{id, 65535, 0})),
			set(300, u16(uint16(len(piece))), []byte{byte(len(piece))}, piece)))
		if len(r) != 1 || r[0].Fwd.Packets != 1 || r[0].Fwd.Bytes != 40 || r[0].Fwd.Flags != packet.SYN || !r[0].Ports {
			t.Errorf("element %d: %+v", id, r)
		}
	}
}

func TestTimes(t *testing.T) {
	at := func(before time.Duration) time.Time { return sentAt.Add(-before) }
	millis := func(before time.Duration) []byte { return u64(uint64(at(before).UnixMilli())) }
	ntp := func(before time.Duration) []byte {
		n := at(before)
		return u64(uint64(n.Unix()+2208988800)<<32 | uint64(n.Nanosecond())<<32/1e9)
	}
	boot := spec{160, 8, 0}
	cases := []struct {
		version     flow.Version
		fields      []spec
		values      [][]byte
		first, last time.Duration // before the datagram
		why         string
	}{
		{flow.NetFlow9, []spec{{22, 4, 0}, {21, 4, 0}}, [][]byte{u32(57_000), u32(59_000)}, 3 * time.Second, time.Second, "uptime"},
		{flow.NetFlow9, []spec{{22, 4, 0}, {21, 4, 0}}, [][]byte{u32(1<<32 - 5_000), u32(59_000)}, 65 * time.Second, time.Second, "the uptime wrapped around between"},
		{flow.NetFlow9, []spec{{22, 4, 0}, {21, 4, 0}}, [][]byte{u32(59_000), u32(57_000)}, 3 * time.Second, time.Second, "mixed up"},
		{flow.NetFlow9, []spec{{22, 4, 0}, {21, 4, 0}}, [][]byte{u32(0), u32(0)}, 0, 0, "not filled in"},
		{flow.NetFlow9, []spec{{22, 4, 0}, {21, 4, 0}}, [][]byte{u32(60_500), u32(60_900)}, -500 * time.Millisecond, -900 * time.Millisecond, "within the second of the header"},
		{flow.NetFlow9, []spec{{22, 4, 0}, {21, 4, 0}}, [][]byte{u32(7_200_000), u32(7_203_000)}, 3 * time.Second, 0, "two hours ahead: moved back, the duration stays"},
		{flow.IPFIX, []spec{{150, 4, 0}, {151, 4, 0}}, [][]byte{u32(uint32(at(9 * time.Second).Unix())), u32(uint32(at(2 * time.Second).Unix()))}, 9 * time.Second, 2 * time.Second, "seconds"},
		{flow.IPFIX, []spec{{152, 8, 0}, {153, 8, 0}}, [][]byte{millis(9 * time.Second), millis(1500 * time.Millisecond)}, 9 * time.Second, 1500 * time.Millisecond, "milliseconds"},
		{flow.IPFIX, []spec{{154, 8, 0}, {155, 8, 0}}, [][]byte{ntp(9 * time.Second), ntp(1500 * time.Millisecond)}, 9 * time.Second, 1500 * time.Millisecond, "microseconds are NTP"},
		{flow.IPFIX, []spec{{156, 8, 0}, {157, 8, 0}}, [][]byte{ntp(9 * time.Second), ntp(1250 * time.Millisecond)}, 9 * time.Second, 1250 * time.Millisecond, "nanoseconds too"},
		{flow.IPFIX, []spec{{158, 4, 0}, {159, 4, 0}}, [][]byte{u32(3_000_000), u32(1_000_500)}, 3 * time.Second, 1000500 * time.Microsecond, "microseconds before the message"},
		{flow.IPFIX, []spec{boot, {22, 4, 0}, {21, 4, 0}}, [][]byte{millis(60 * time.Second), u32(57_000), u32(59_000)}, 3 * time.Second, time.Second, "uptime with the start in the record"},
		{flow.IPFIX, []spec{{22, 4, 0}, {21, 4, 0}}, [][]byte{u32(57_000), u32(59_000)}, 2 * time.Second, 0, "uptime since an unknown start"},
		{flow.IPFIX, []spec{{152, 8, 0}, {161, 4, 0}}, [][]byte{millis(9 * time.Second), u32(4_000)}, 9 * time.Second, 5 * time.Second, "a start and how long"},
		{flow.IPFIX, []spec{{153, 8, 0}, {162, 4, 0}}, [][]byte{millis(1 * time.Second), u32(4_000_000)}, 5 * time.Second, time.Second, "an end and how long"},
		{flow.IPFIX, []spec{{323, 8, 0}}, [][]byte{millis(4 * time.Second)}, 4 * time.Second, 4 * time.Second, "one moment"},
		{flow.IPFIX, []spec{{152, 8, 0}, {153, 8, 0}}, [][]byte{u64(0), millis(4 * time.Second)}, 4 * time.Second, 4 * time.Second, "no start"},
		{flow.IPFIX, []spec{{152, 8, 0}, {153, 8, 0}}, [][]byte{u64(1), millis(4 * time.Second)}, 4 * time.Second, 4 * time.Second, "a start in 1970"},
		{flow.IPFIX, []spec{{152, 8, 0}, {153, 8, 0}}, [][]byte{u64(1<<64 - 1), u64(1<<64 - 1)}, 0, 0, "the end of time"},
		{flow.IPFIX, []spec{{152, 8, 0}, {153, 8, 0}}, [][]byte{millis(4 * time.Second), u64(1<<64 - 1)}, 0, 0, "never ended"},
		{flow.IPFIX, []spec{{154, 8, 0}, {155, 8, 0}}, [][]byte{u64(1<<64 - 1), u64(1<<64 - 1)}, 0, 0, "the last moment of an NTP era"},
		{flow.IPFIX, []spec{{158, 8, 0}, {159, 8, 0}}, [][]byte{u64(1<<64 - 1), u64(0)}, 0, 0, "began before time"},
		{flow.IPFIX, []spec{{158, 8, 0}, {159, 8, 0}}, [][]byte{u64(1<<64 - 1), u64(1<<64 - 1)}, 0, 0, "ended before time"},
		{flow.IPFIX, []spec{{152, 8, 0}, {161, 8, 0}}, [][]byte{millis(time.Second), u64(1<<64 - 1)}, 0, 0, "longer than time"},
		{flow.IPFIX, []spec{{152, 8, 0}, {153, 8, 0}}, [][]byte{millis(9000 * time.Hour), millis(8999 * time.Hour)}, 9000 * time.Hour, 8999 * time.Hour, "a year ago: an exporter that reads a capture"},
		{flow.IPFIX, []spec{{152, 8, 0}, {153, 8, 0}, {152, 8, reversePEN}, {153, 8, reversePEN}}, [][]byte{millis(5 * time.Second), millis(3 * time.Second), millis(4 * time.Second), millis(time.Second)}, 5 * time.Second, time.Second, "both directions"},
		{flow.IPFIX, []spec{{5, 1, 0}}, [][]byte{{0}}, 0, 0, "none"},
	}
	for _, c := range cases {
		r := one(c.version, c.fields, c.values...)
		first, last := sentAt.Sub(time.Unix(0, r.First)), sentAt.Sub(time.Unix(0, r.Last))
		if (first-c.first).Abs() > time.Nanosecond || (last-c.last).Abs() > time.Nanosecond || r.Last < r.First {
			t.Errorf("%v %v %x: %v to %v before the datagram, want %v to %v (%s)", c.version, c.fields, c.values, first, last, c.first, c.last, c.why)
		}
	}
}

// The clock of an exporter that is off is corrected, always by the same amount.
func TestSkew(t *testing.T) {
	cases := []struct {
		off, want time.Duration // of the exporter's clock; of the times of its flows
		why       string
	}{
		{4 * time.Minute, 4 * time.Minute, "within the limit"},
		{-4 * time.Minute, -4 * time.Minute, "within the limit"},
		{3 * time.Hour, 0, "another time zone"},
		{-400 * 24 * time.Hour, 0, "its battery is empty"},
	}
	for _, c := range cases {
		d := NewDecoder(Config{})
		arrival := sentAt.Add(-c.off).UnixNano()
		var got []flow.Record
		for i := range int64(3) { // each later by some milliseconds, which is the network
			b := fixedDatagram(flow.NetFlow5, 1, uint32(i))
			got = d.Datagram(router, b, arrival+i*7*millisecond, got)
		}
		for _, r := range got {
			if off := time.Duration(r.Last - (arrival - second)); off != c.want {
				t.Errorf("clock off by %v: times by %v, want %v (%s)", c.off, off, c.want, c.why)
			}
		}
		if corrected := countOf(d, "skewed_clock"); corrected > 1 {
			t.Errorf("clock off by %v: corrected %d times", c.off, corrected)
		}
	}
	if got := NewDecoder(Config{MaxSkew: -1}).Datagram(router, fixedDatagram(flow.NetFlow5, 1, 0), 0, nil); got[0].Last != sentAt.Add(-time.Second).UnixNano() {
		t.Errorf("any clock is right, and %v came of it", time.Unix(0, got[0].Last))
	}
}

func TestEnds(t *testing.T) {
	for reason, want := range map[byte]flow.End{0: flow.Finished, 1: flow.Idle, 2: flow.Active, 3: flow.Finished, 4: flow.Finished, 5: flow.Evicted, 9: flow.Finished} {
		if got := one(flow.IPFIX, []spec{{136, 1, 0}}, []byte{reason}); got.End != want {
			t.Errorf("reason %d: %v, want %v", reason, got.End, want)
		}
	}
}

func TestVariableLength(t *testing.T) {
	fields := []spec{{82, 65535, 0}, {8, 4, 0}, {100, 65535, 35632}, {12, 4, 0}, {27, 16, 0}, {2, 2, 0}, {83, 65535, 0}, {90, 3, 0}}
	name := bytes.Repeat([]byte{'x'}, 300)
	record := func(first []byte) []byte {
		b := append(append([]byte{}, first...), 10, 0, 0, 1, 255, 1, 44)
		b = append(append(b, name...), 10, 0, 0, 2)
		b = append(append(b, make([]byte, 16)...), 0, 5, 2, 'a', 'b', 1, 2, 3)
		return b
	}
	d := NewDecoder(Config{})
	got := feed(d, ipfixOf(1, 0, set(2, templateOf(300, fields...)), set(300, record([]byte{0}), record([]byte{1, 'y'}), record([]byte{255, 0, 2, 'z', 'z'}))))
	if len(got) != 3 {
		t.Fatalf("%d records, want 3", len(got))
	}
	for i := range got {
		if got[i].Src != addr("10.0.0.1") || got[i].Dst != addr("10.0.0.2") || got[i].Fwd.Packets != 5 {
			t.Errorf("record %d: %+v", i, got[i])
		}
	}
}

func TestICMP(t *testing.T) {
	proto := spec{4, 1, 0}
	for _, c := range []struct {
		why    string
		fields []spec
		values [][]byte
		want   uint16
	}{
		{"an element of its own", []spec{proto, {32, 2, 0}}, [][]byte{{1}, u16(3<<8 | 1)}, 3<<8 | 1},
		{"that of ICMPv6", []spec{proto, {139, 2, 0}}, [][]byte{{58}, u16(128 << 8)}, 128 << 8},
		{"type and code apart", []spec{proto, {176, 1, 0}, {177, 1, 0}}, [][]byte{{1}, {8}, {0}}, 8 << 8},
		{"where a port would be", []spec{proto, {7, 2, 0}, {11, 2, 0}}, [][]byte{{1}, u16(0), u16(8 << 8)}, 8 << 8},
		{"nothing is told", []spec{proto}, [][]byte{{1}}, 0},
		{"TCP has none", []spec{proto, {32, 2, 0}, {11, 2, 0}}, [][]byte{{6}, u16(8 << 8), u16(80)}, 0},
	} {
		for _, version := range []flow.Version{flow.NetFlow9, flow.IPFIX} {
			fields, values := append(c.fields, spec{2, 4, 0}), append(c.values, u32(1))
			if got := one(version, fields, values...); got.Export.ICMP != c.want || !got.Ports && got.DstPort != 0 {
				t.Errorf("%s, %v: %#x, port %d", c.why, version, got.Export.ICMP, got.DstPort)
			}
		}
	}
	five := fixedDatagram(flow.NetFlow5, 1, 0)
	five[24+38] = 1
	be.PutUint16(five[24+34:], 11<<8)
	if got := feed(NewDecoder(Config{}), five); len(got) != 1 || got[0].Export.ICMP != 11<<8 || got[0].Ports || got[0].DstPort != 0 {
		t.Errorf("NetFlow 5: %+v", got)
	}
}
