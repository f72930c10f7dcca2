package export

import (
	"math"
	"testing"

	"vft/capture/flow"
	"vft/capture/packet"
)

func TestSamplingRates(t *testing.T) {
	const v9, x = flow.NetFlow9, flow.IPFIX
	system, domain := spec{1, 4, 0}, spec{149, 4, 0}
	type options struct {
		scopes int
		fields []spec
		value  []byte
	}
	bytesOf := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	cases := []struct {
		version flow.Version
		options []options
		fields  []spec // of the record, besides addresses and one packet
		value   []byte
		want    uint32
		why     string
	}{
		{v9, nil, nil, nil, 0, "nothing said"},
		{v9, nil, []spec{{34, 4, 0}, {35, 1, 0}}, bytesOf(u32(2048), []byte{2}), 2048, "in the record"},
		{v9, []options{{1, []spec{system, {34, 4, 0}, {35, 1, 0}}, bytesOf(u32(0), u32(100), []byte{1})}}, nil, nil, 100, "of the exporter"},
		{v9, []options{{1, []spec{system, {48, 2, 0}, {50, 4, 0}, {49, 1, 0}}, bytesOf(u32(0), u16(3), u32(1000), []byte{2})}}, []spec{{48, 2, 0}}, u16(3), 1000, "by the number of the sampler"},
		{v9, []options{{1, []spec{system, {48, 1, 0}, {50, 4, 0}}, bytesOf(u32(0), []byte{3}, u32(1000))}}, []spec{{48, 2, 0}}, u16(4), 0, "of another sampler"},
		{v9, []options{{1, []spec{system, {48, 1, 0}, {50, 4, 0}}, bytesOf(u32(0), []byte{3}, u32(1000))}}, nil, nil, 1000, "no number: the only sampler"},
		{v9, []options{
			{1, []spec{system, {48, 1, 0}, {50, 4, 0}}, bytesOf(u32(0), []byte{3}, u32(1000))},
			{1, []spec{system, {48, 1, 0}, {50, 4, 0}}, bytesOf(u32(0), []byte{4}, u32(2000))},
		}, nil, nil, 0, "no number, and two samplers"},
		{v9, []options{
			{1, []spec{system, {48, 1, 0}, {50, 4, 0}}, bytesOf(u32(0), []byte{3}, u32(1000))},
			{1, []spec{system, {48, 1, 0}, {50, 4, 0}}, bytesOf(u32(0), []byte{3}, u32(500))},
		}, []spec{{48, 1, 0}}, []byte{3}, 500, "said again, changed"},
		{v9, []options{{1, []spec{{2, 4, 0}, {34, 4, 0}}, bytesOf(u32(17), u32(64))}}, []spec{{10, 4, 0}}, u32(17), 64, "of an interface"},
		{v9, []options{{1, []spec{{2, 4, 0}, {34, 4, 0}}, bytesOf(u32(17), u32(64))}}, []spec{{10, 4, 0}}, u32(18), 0, "of another interface"},
		{v9, []options{{1, []spec{{5, 2, 0}, {34, 4, 0}}, bytesOf(u16(300), u32(64))}}, nil, nil, 64, "of the template"},
		{x, []options{{2, []spec{domain, {145, 2, 0}, {304, 2, 0}, {305, 4, 0}, {306, 4, 0}}, bytesOf(u32(0), u16(300), u16(1), u32(1), u32(999))}}, nil, nil, 1000, "one packet, then 999 left out, for a template"},
		{x, []options{{1, []spec{{302, 8, 0}, {304, 2, 0}, {305, 4, 0}, {306, 4, 0}}, bytesOf(u64(7), u16(1), u32(2), u32(98))}}, []spec{{302, 8, 0}}, u64(7), 50, "two packets, then 98 left out"},
		{x, []options{{1, []spec{{302, 4, 0}, {309, 4, 0}, {310, 4, 0}}, bytesOf(u32(7), u32(10), u32(5000))}}, []spec{{302, 4, 0}}, u32(7), 500, "ten of 5000"},
		{x, []options{{1, []spec{{302, 4, 0}, {311, 8, 0}}, bytesOf(u32(7), u64(math.Float64bits(0.001)))}}, []spec{{302, 4, 0}}, u32(7), 1000, "with probability .001"},
		{x, []options{{1, []spec{{302, 4, 0}, {311, 8, 0}}, bytesOf(u32(7), u64(math.Float64bits(math.NaN())))}}, []spec{{302, 4, 0}}, u32(7), 0, "no probability"},
		{x, []options{{1, []spec{domain, {305, 4, 0}, {306, 4, 0}}, bytesOf(u32(0), u32(0), u32(100))}}, nil, nil, 0, "never"},
		{x, []options{{1, []spec{domain, {305, 8, 0}, {306, 8, 0}}, bytesOf(u32(0), u64(1<<64-1), u64(1<<64-1))}}, nil, nil, 2, "numbers that nobody means"},
		{x, []options{{1, []spec{domain, {305, 8, 0}, {306, 8, 0}}, bytesOf(u32(0), u64(1), u64(1<<64-1))}}, nil, nil, math.MaxUint32, "more than a rate can be"},
		{x, []options{{1, []spec{domain, {34, 4, 0}}, bytesOf(u32(0), u32(100))}}, []spec{{34, 4, 0}}, u32(1), 1, "the record says all of them"},
	}
	for _, c := range cases {
		d := NewDecoder(Config{})
		for i, o := range c.options {
			id := 400 + uint16(i)
			if c.version == v9 {
				feed(d, netflow9Of(1, 0, set(1, optionsOf9(id, o.scopes, o.fields...)), set(id, o.value)))
			} else {
				feed(d, ipfixOf(1, 0, set(3, optionsOf(id, o.scopes, o.fields...)), set(id, o.value)))
			}
		}
		template := templateOf(300, append([]spec{{8, 4, 0}, {12, 4, 0}, {2, 4, 0}}, c.fields...)...)
		data := set(300, bytesOf([]byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 3}, c.value))
		datagram := ipfixOf(1, 0, set(2, template), data)
		if c.version == v9 {
			datagram = netflow9Of(1, 0, set(0, template), data)
		}
		got := feed(d, datagram)
		if len(got) != 1 || got[0].Export.Sampling != c.want || got[0].Fwd.Packets != 3*uint64(max(1, c.want)) {
			t.Errorf("%v %v: %+v, want rate %d (%s)", c.version, c.options, got, c.want, c.why)
		}
	}
}

func TestSamplingOfNetFlow5(t *testing.T) {
	b := fixedDatagram(flow.NetFlow5, 1, 0)
	be.PutUint16(b[22:], 1<<14|1000) // deterministic, one of 1000
	got := feed(NewDecoder(Config{}), b)
	if got[0].Export.Sampling != 1000 || got[0].Fwd.Packets != 4000 || got[0].Fwd.Bytes != 240_000 {
		t.Errorf("%+v", got[0])
	}
	d := NewDecoder(Config{Sampling: func(a packet.Addr) uint32 {
		if a == addr("192.0.2.1") {
			return 10
		}
		return 0
	}})
	if got := feed(d, b); got[0].Export.Sampling != 10 || got[0].Fwd.Packets != 40 {
		t.Errorf("with a rate of the configuration: %+v", got[0])
	}
}

// No counter of a record is beyond what its readers can add up.
func TestCountersAreBounded(t *testing.T) {
	for _, c := range []struct {
		why            string
		bytes, packets uint64
		rate           uint32
		want           flow.Side
		bounded        uint64
	}{
		{"more than 64 bits, by sampling", 1 << 63, 5, 1<<32 - 1, flow.Side{Bytes: MaxCounter, Packets: 5 * (1<<32 - 1)}, 1},
		{"a counter of all ones", 1<<64 - 1, 1<<64 - 1, 1, flow.Side{Bytes: MaxCounter, Packets: MaxCounter}, 1},
		{"the largest that is left as it is", MaxCounter - 1, 1, 0, flow.Side{Bytes: MaxCounter - 1, Packets: 1}, 0},
	} {
		d := NewDecoder(Config{})
		fields := []spec{{8, 4, 0}, {12, 4, 0}, {1, 8, 0}, {2, 8, 0}, {34, 4, 0}}
		got := feed(d, ipfixOf(1, 0, set(2, templateOf(300, fields...)), set(300, make([]byte, 8), u64(c.bytes), u64(c.packets), u32(c.rate))))
		if len(got) != 1 || got[0].Fwd != c.want || countOf(d, "bad_counter") != c.bounded {
			t.Errorf("%s: %+v, %v", c.why, got, counted(d))
		}
	}
}

// Samplers are bounded; the oldest gives way.
func TestManySamplers(t *testing.T) {
	var s sampling
	for id := range uint64(1000) {
		s.learn(sampler{selector, id, 7})
	}
	if len(s.some) != maxSamplers || s.find(selector, 999) != 7 || s.find(selector, 0) != 0 {
		t.Errorf("%d samplers", len(s.some))
	}
}
