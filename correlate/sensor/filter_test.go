package sensor

import (
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"vft/capture/flow"
	"vft/capture/packet"
)

// matches reports whether a sensor with this filter looks at r.
func matches(t *testing.T, filter string, r flow.Record) bool {
	t.Helper()
	return parse(t, "builtin: off\nsensors: {a: {filter: "+filter+"}}")[0].filter(&r)
}

func TestFilters(t *testing.T) {
	syn := tcp("10.0.0.9", "10.1.0.1", 443, 2, 60, 0)
	with := func(change func(*flow.Record)) flow.Record {
		r := syn
		change(&r)
		return r
	}
	answered := with(func(r *flow.Record) { r.Rev = flow.Side{Packets: 1, Bytes: 60, Flags: 18} })
	udp := with(func(r *flow.Record) { r.Proto = 17 })
	noPorts := with(func(r *flow.Record) { r.Ports, r.SrcPort, r.DstPort, r.Proto = false, 0, 0, 1 })
	v6 := with(func(r *flow.Record) { r.Src, r.Dst = addr("2001:db8::9"), addr("2001:db8:1::1") })
	for _, c := range []struct {
		why, filter string
		flow        flow.Record
		want        bool
	}{
		{"none passes everything", "none", syn, true},
		{"so does nothing", "", syn, true},
		{"none of nothing", "{none: []}", syn, true},
		{"none of this", "{none: [{dst_port: 443}]}", syn, false},
		{"none of that", "{none: [{dst_port: 80}, {dst_port: 81}]}", syn, true},
		{"all of nothing is true", "{all: []}", syn, true},
		{"any of nothing is false", "{any: []}", syn, false},
		{"not any of nothing", "{not: {any: []}}", syn, true},
		{"all, one fails", "{all: [{dst_port: 443}, {src_port: 1}]}", syn, false},
		{"any, one passes", "{any: [{dst_port: 443}, {src_port: 1}]}", syn, true},
		{"a mapping is all of its members", "{dst_port: 443, src_port: 1}", syn, false},
		{"a mapping whose members pass", "{dst_port: 443, src_port: 40000}", syn, true},
		{"a list is all of its members", "[{dst_port: 443}, {src_port: 1}]", syn, false},
		{"any of a mapping", "{any: {dst_port: 1, src_port: 40000}}", syn, true},
		{"not", "{not: {dst_port: 443}}", syn, false},
		{"not all of two", "{not: {dst_port: 443, src_port: 1}}", syn, true},

		{"dst_port", "{dst_port: 443}", syn, true},
		{"dst_port of a flow without ports", "{dst_port: 0}", noPorts, false},
		{"dst_ports", "{dst_ports: [80, 443]}", syn, true},
		{"dst_ports with a range", "{dst_ports: [80, 440-450]}", syn, true},
		{"the source port is no destination port", "{dst_ports: [40000]}", syn, false},
		{"dst_port_range", "{dst_port_range: [443, 500]}", syn, true},
		{"dst_port_range in one word", "{dst_port_range: 400-443}", syn, true},
		{"below the range", "{dst_port_range: [444, 500]}", syn, false},
		{"src_port", "{src_port: 40000}", syn, true},
		{"src_ports", "{src_ports: [1, 2]}", syn, false},
		{"src_port_range", "{src_port_range: [32768, 65535]}", syn, true},

		{"tcp_flags are exact", "{tcp_flags: 2}", syn, true},
		{"more flags than those", "{tcp_flags: 2}", with(func(r *flow.Record) { r.Fwd.Flags = 18 }), false},
		{"an explicit congestion bit is another flag", "{tcp_flags: 2}", with(func(r *flow.Record) { r.Fwd.Flags = 0xc2 }), false},
		{"by name", "{tcp_flags: syn}", syn, true},
		{"by names", "{tcp_flags: syn+rst}", with(func(r *flow.Record) { r.Fwd.Flags = 6 }), true},
		{"in hexadecimal", "{tcp_flags: 0x02}", syn, true},
		{"no flags at all", "{tcp_flags: 0}", with(func(r *flow.Record) { r.Fwd.Flags = 0 }), true},
		{"datagrams have no flags", "{tcp_flags: 0}", with(func(r *flow.Record) { r.Proto, r.Fwd.Flags = 17, 0 }), false},
		{"the answer's flags do not count", "{tcp_flags: 2}", answered, true},
		{"all of a mask", "{tcp_flags_all: 6}", syn, false},
		{"all of a mask and more", "{tcp_flags_all: 6}", with(func(r *flow.Record) { r.Fwd.Flags = 22 }), true},
		{"any of a mask", "{tcp_flags_any: 6}", syn, true},
		{"any of another mask", "{tcp_flags_any: 5}", syn, false},

		{"exactly so many bits", "{bits_per_packet_lower_than: 480}", syn, true},
		{"a bit too many", "{bits_per_packet_lower_than: 479}", syn, false},
		{"the average of two packets", "{bits_per_packet_lower_than: 244}", with(func(r *flow.Record) { r.Fwd.Packets, r.Fwd.Bytes = 2, 61 }), true},
		{"no packets", "{bits_per_packet_lower_than: 4000000000}", with(func(r *flow.Record) { r.Fwd = flow.Side{Flags: 2} }), false},
		{"the answer's bytes do not count", "{bits_per_packet_lower_than: 480}", answered, true},
		{"no more than fits", "{bits_per_packet_lower_than: 512}", with(func(r *flow.Record) { r.Fwd.Bytes = math.MaxUint64 }), false},

		{"protocol", "{protocol: tcp}", syn, true},
		{"protocols", "{protocol: [icmp, udp]}", udp, true},
		{"a number", "{protocol: 17}", udp, true},
		{"another", "{protocol: udp}", syn, false},

		{"src_in", "{src_in: [192.168.0.0/16, 10.0.0.0/24]}", syn, true},
		{"not src_in", "{src_in: 10.0.1.0/24}", syn, false},
		{"dst_in an address", "{dst_in: 10.1.0.1}", syn, true},
		{"the source is not the destination", "{dst_in: 10.0.0.9}", syn, false},
		{"everything IPv4", "{src_in: 0.0.0.0/0}", syn, true},
		{"IPv6 is not IPv4", "{src_in: 0.0.0.0/0}", v6, false},
		{"IPv6", "{src_in: '2001:db8::/32'}", v6, true},
		{"IPv4 is not of this network", "{src_in: '2001:db8::/32'}", syn, false},
	} {
		if got := matches(t, c.filter, c.flow); got != c.want {
			t.Errorf("%s: %s is %v", c.why, c.filter, got)
		}
	}
}

func TestBitsAgainstBigNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytes, packets, most := rapid.Uint64().Draw(t, "bytes"), rapid.Uint64().Draw(t, "packets"), rapid.Uint64Range(0, 1<<32).Draw(t, "most")
		left := new(big.Int).Mul(new(big.Int).SetUint64(bytes), big.NewInt(8))
		right := new(big.Int).Mul(new(big.Int).SetUint64(packets), new(big.Int).SetUint64(most))
		if got := bitsWithin(bytes, packets, most); got != (left.Cmp(right) <= 0) {
			t.Fatalf("8*%d <= %d*%d is %v", bytes, packets, most, got)
		}
	})
}

// Sets of networks hold what one of their networks holds.
func TestAddressSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefixes := rapid.SliceOfN(rapid.Custom(prefix), 1, 8).Draw(t, "prefixes")
		set := newAddrSet(prefixes)
		for range 20 {
			a := address(t)
			want := false
			for _, p := range prefixes {
				want = want || p.Contains(a)
			}
			if got := set.has(packet.AddrFrom(a)); got != want {
				t.Fatalf("%v in %v is %v", a, prefixes, got)
			}
		}
	})
}

func address(t *rapid.T) netip.Addr {
	n := rapid.IntRange(0, 511).Draw(t, "address")
	if rapid.Bool().Draw(t, "four") {
		return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	}
	return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", n))
}

func prefix(t *rapid.T) netip.Prefix {
	a := address(t)
	return netip.PrefixFrom(a, rapid.IntRange(a.BitLen()-10, a.BitLen()).Draw(t, "bits")).Masked()
}
