package export

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"vft/capture/flow"
)

// counted returns the counters that are not zero, datagrams and records apart.
func counted(d *Decoder) map[string]uint64 {
	out := map[string]uint64{}
	d.Counts(func(name string, value uint64) {
		if value != 0 && name != "datagrams" && name != "records" {
			out[name] = value
		}
	})
	return out
}

func TestBadTemplates(t *testing.T) {
	record := append([]byte{10, 0, 0, 1, 10, 0, 0, 2}, 0, 0, 0, 1)
	many := make([]spec, maxTemplateFields+1)
	for i := range many {
		many[i] = spec{8, 1, 0}
	}
	cases := []struct {
		datagram []byte
		counter  string
		why      string
	}{
		{ipfixOf(1, 0, set(2, templateOf(256)), set(256, []byte{1, 2, 3, 4})), "templates_withdrawn", "32 bytes: a template without fields, which withdraws, and data for it"},
		{netflow9Of(1, 0, set(0, templateOf(256)), set(256, []byte{1, 2, 3, 4})), "bad_template", "no fields"},
		{ipfixOf(1, 0, set(2, templateOf(256, spec{8, 0, 0}, spec{12, 0, 0})), set(256, record)), "bad_template", "fields, and no size"},
		{ipfixOf(1, 0, set(2, templateOf(255, spec{8, 4, 0})), set(256, record)), "bad_template", "an id of sets"},
		{ipfixOf(1, 0, set(2, templateOf(256, spec{8, 65000, 0}, spec{12, 65000, 0})), set(256, record)), "bad_template", "longer than a datagram"},
		{ipfixOf(1, 0, set(2, templateOf(256, many...)), set(256, record)), "bad_template", "too many fields"},
		{ipfixOf(1, 0, set(2, templateOf(256, usual...)[:20]), set(256, record)), "bad_template", "cut"},
		{ipfixOf(1, 0, set(2, []byte{1, 0, 255, 255, 0, 8, 0, 4}), set(256, record)), "bad_template", "65535 fields"},
		{netflow9Of(1, 0, set(1, []byte{1, 0, 255, 255, 255, 255, 0, 8, 0, 4}), set(256, record)), "bad_template", "as many options"},
		{ipfixOf(1, 0, set(3, optionsOf(256, 9, spec{8, 4, 0})), set(256, record)), "bad_template", "more scopes than fields"},
		{ipfixOf(1, 0, []byte{1, 0, 0, 3}), "bad_set", "a set shorter than its header"},
		{ipfixOf(1, 0, []byte{1, 0, 0, 0}), "bad_set", "a set of no length"},
		{ipfixOf(1, 0, []byte{1, 0, 255, 255, 1, 2, 3}), "cut_short", "a set longer than its datagram"},
		{ipfixOf(1, 0, []byte{0, 100, 0, 4}), "bad_set", "a set of an id without a meaning"},
		{netflow9Of(1, 0)[:19], "short_header", ""},
		{ipfixOf(1, 0)[:15], "short_header", ""},
		{[]byte{9}, "unknown_version", "one byte"},
		{nil, "unknown_version", "nothing"},
		{[]byte{0, 8, 0, 0, 0, 0}, "unknown_version", "NetFlow 8"},
	}
	for _, c := range cases {
		d := NewDecoder(Config{})
		if got := feed(d, c.datagram); len(got) != 0 || countOf(d, c.counter) == 0 {
			t.Errorf("%x: %d records, %v; want %s (%s)", c.datagram[:min(len(c.datagram), 40)], len(got), counted(d), c.counter, c.why)
		}
		good := feed(d, ipfixOf(1, 0, set(2, templateOf(256, modern...)), set(256, modernRecord())))
		if len(good) < 1 || good[len(good)-1].DstPort != 25 {
			t.Errorf("%x: the next good datagram has %d records (%s)", c.datagram[:min(len(c.datagram), 40)], len(good), c.why)
		}
	}
}

// Templates end with padding, and data too.
func TestPadding(t *testing.T) {
	for _, padding := range [][]byte{nil, {0}, {0, 0, 0}, make([]byte, 11)} {
		d := NewDecoder(Config{})
		got := feed(d, netflow9Of(1, 0, set(0, templateOf(256, usual...), padding), set(256, usualRecord(), padding), make([]byte, 40)))
		if len(got) != 1 || len(counted(d)) != 0 {
			t.Errorf("%d bytes: %d records, %v", len(padding), len(got), counted(d))
		}
	}
}

// A template belongs to an address, a domain and a protocol.
func TestTemplatesOfOthers(t *testing.T) {
	a, b := netip.MustParseAddrPort("127.0.0.2:9000"), netip.MustParseAddrPort("127.0.0.3:9000")
	other := []spec{{12, 4, 0}, {8, 4, 0}, {21, 4, 0}, {22, 4, 0}, {2, 4, 0}, {1, 4, 0}, {14, 4, 0}, {10, 4, 0}, {61, 1, 0}, {11, 2, 0}, {7, 2, 0}, {4, 1, 0}, {6, 1, 0}, {60, 1, 0}, {5, 1, 0}}
	d := NewDecoder(Config{})
	d.Datagram(a, netflow9Of(1, 0, set(0, templateOf(256, usual...))), 0, nil)
	d.Datagram(b, netflow9Of(1, 0, set(0, templateOf(256, other...))), 0, nil)
	data := netflow9Of(1, 1, set(256, usualRecord()))
	fromA, fromB := d.Datagram(a, data, 0, nil), d.Datagram(b, data, 0, nil)
	if len(fromA) != 1 || fromA[0].Src != addr("10.0.0.1") || fromA[0].DstPort != 25 || fromA[0].Export.Exporter != addr("127.0.0.2") {
		t.Errorf("of the first: %+v", fromA)
	}
	if len(fromB) != 1 || fromB[0].Src != addr("10.0.0.2") || fromB[0].DstPort != 1025 || fromB[0].Export.Exporter != addr("127.0.0.3") {
		t.Errorf("of the second: %+v", fromB)
	}
	if got := d.Datagram(a, netflow9Of(2, 0, set(256, usualRecord())), 0, nil); len(got) != 0 {
		t.Errorf("another domain uses the template: %+v", got)
	}
	if got := d.Datagram(a, ipfixOf(1, 0, set(256, usualRecord())), 0, nil); len(got) != 0 {
		t.Errorf("another protocol uses the template: %+v", got)
	}
	mapped := netip.AddrPortFrom(netip.MustParseAddr("::ffff:127.0.0.2"), 1)
	if got := d.Datagram(mapped, data, 0, nil); len(got) != 1 {
		t.Errorf("the same address from a socket for both IP versions, another port: %d records", len(got))
	}
}

// Two programs behind one address and domain give an id two meanings; each keeps
// its own, and its own sequence. A port that defines nothing uses what there is.
func TestTemplatesOfPorts(t *testing.T) {
	a, b, c := netip.MustParseAddrPort("127.0.0.1:1000"), netip.MustParseAddrPort("127.0.0.1:2000"), netip.MustParseAddrPort("127.0.0.1:3000")
	reversed := append([]spec{{12, 4, 0}, {8, 4, 0}}, usual[2:]...)
	templateA, templateB := set(0, templateOf(256, usual...)), set(0, templateOf(256, reversed...))
	check := func(d *Decoder, why string) {
		t.Helper()
		for i, from := range []netip.AddrPort{a, b, a, c, b} {
			want := []string{"10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.1", "10.0.0.2"}[i]
			if got := d.Datagram(from, netflow9Of(0, 0, set(256, usualRecord())), 0, nil); len(got) != 1 || got[0].Src != addr(want) {
				t.Errorf("%s: from %v: %+v, want source %s", why, from, got, want)
			}
		}
	}
	d := NewDecoder(Config{})
	d.Datagram(a, netflow9Of(0, 0, templateA), 0, nil)
	d.Datagram(b, netflow9Of(0, 0, templateB), 0, nil)
	check(d, "both defined")
	d.Datagram(a, netflow9Of(0, 0, templateA), second, nil)
	d.Datagram(b, netflow9Of(0, 0, templateB), second, nil)
	check(d, "again")
	after := NewDecoder(Config{})
	if err := after.Restore(d.Save()); err != nil {
		t.Fatal(err)
	}
	check(after, "after a restart")

	d = NewDecoder(Config{})
	for i := range uint32(100) {
		d.Datagram(a, fixedDatagram(flow.NetFlow5, 1, 1000+i), 0, nil)
		d.Datagram(b, fixedDatagram(flow.NetFlow5, 1, 5000+2*i), 0, nil)
	}
	for e := range d.Exporters() {
		if e.Sent != 200 || e.Lost != 99 || e.Restarts != 0 {
			t.Errorf("the sequences of two ports: %+v", e)
		}
	}
	for i := range uint32(100) { // as a device does that takes another port for each datagram
		d.Datagram(netip.AddrPortFrom(a.Addr(), uint16(9000+i)), fixedDatagram(flow.NetFlow5, 1, i*1000), 0, nil)
	}
	for e := range d.Exporters() {
		if e.Sent != 300 || e.Lost != 99 || e.Restarts != 0 {
			t.Errorf("a hundred ports: %+v", e)
		}
	}

	d = NewDecoder(Config{})
	d.Datagram(a, netflow9Of(0, 0, templateA), 0, nil)
	d.Datagram(b, netflow9Of(0, 0, templateB), 2*heardOf, nil)
	if got := d.Datagram(c, netflow9Of(0, 0, set(256, usualRecord())), 2*heardOf, nil); got[0].Src != addr("10.0.0.2") {
		t.Errorf("two hours later the exporter sends from another port, and %+v", got)
	}
}

func TestTemplateAnew(t *testing.T) {
	d := NewDecoder(Config{})
	feed(d, ipfixOf(1, 0, set(2, templateOf(256, modern...))))
	got := feed(d, ipfixOf(1, 0, set(2, templateOf(256, spec{8, 4, 0}, spec{12, 4, 0})), set(256, []byte{1, 1, 1, 1, 2, 2, 2, 2})))
	if len(got) != 1 || got[0].Src != addr("1.1.1.1") {
		t.Errorf("redefined: %+v", got)
	}
	feed(d, ipfixOf(1, 0, set(2, templateOf(257, modern...)), set(3, optionsOf(258, 1, spec{149, 4, 0}, spec{34, 4, 0}))))
	if got := feed(d, ipfixOf(1, 0, set(2, templateOf(256)), set(256, modernRecord()))); len(got) != 0 {
		t.Errorf("withdrawn, and %d records", len(got))
	}
	feed(d, ipfixOf(1, 0, set(2, templateOf(2)))) // all templates, not the options
	for e := range d.Exporters() {
		if e.Templates != 1 {
			t.Errorf("%d templates left, want that of the options", e.Templates)
		}
	}
	feed(d, ipfixOf(1, 0, set(3, templateOf(3))))
	if d.exporters.fields != 0 {
		t.Errorf("%d fields are charged for no template", d.exporters.fields)
	}
}

func TestPending(t *testing.T) {
	template := netflow9Of(1, 9, set(0, templateOf(256, usual...)))
	early := netflow9Of(1, 8, set(256, usualRecord(), usualRecord()))
	late := bytes.Clone(template)
	be.PutUint32(late[4:], 90_000) // its own times differ
	be.PutUint32(late[8:], uint32(sentAt.Unix())+30)

	d := NewDecoder(Config{})
	got := feed(d, early, late)
	if len(got) != 2 || got[0].Last != sentAt.Add(-time.Second).UnixNano() || countOf(d, "pending_decoded") != 1 {
		t.Errorf("data before their template: %+v, %v", got, counted(d))
	}
	if d.pending.bytes != 0 || d.exporters.first.waitingBytes != 0 {
		t.Errorf("%d bytes still wait, %d of the exporter", d.pending.bytes, d.exporters.first.waitingBytes)
	}

	d = NewDecoder(Config{PendingAge: time.Minute})
	d.Datagram(router, early, 0, nil)
	if got := d.Datagram(router, template, 61*second, nil); len(got) != 0 || countOf(d, "pending_expired") != 1 {
		t.Errorf("after a minute: %d records, %v", len(got), counted(d))
	}
	for e := range d.Exporters() {
		if e.Missing != 1 {
			t.Errorf("%d sets are told of that had no template", e.Missing)
		}
	}

	d = NewDecoder(Config{MaxPending: 8 << 10})
	for range 100 {
		d.Datagram(router, early, 0, nil)
	}
	if countOf(d, "pending_dropped") == 0 || d.pending.bytes > 2<<10 {
		t.Errorf("one exporter: %d bytes, %v", d.pending.bytes, counted(d))
	}
	for i := range 100 {
		d.Datagram(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1), early, 0, nil)
	}
	if d.pending.bytes > 8<<10 || len(d.pending.sets) > 100 {
		t.Errorf("many exporters: %d bytes in %d sets", d.pending.bytes, len(d.pending.sets))
	}
	kept := countOf(d, "pending_kept")
	if sum := uint64(d.pending.bytes/d.pending.sets[len(d.pending.sets)-1].cost()) + countOf(d, "pending_dropped") + countOf(d, "pending_decoded"); sum != 200 {
		t.Errorf("of 200 sets %d are accounted for, %d kept", sum, kept)
	}
}

func TestLimits(t *testing.T) {
	d := NewDecoder(Config{MaxExporters: 10, MaxTemplates: 5, MaxFields: 400})
	for i := range 1000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1)
		for id := range uint16(8) {
			d.Datagram(from, netflow9Of(1, 0, set(0, templateOf(256+id, usual...)), set(900, usualRecord())), int64(i), nil)
		}
	}
	templates, exporters, fields := 0, 0, 0
	for e := d.exporters.first; e != nil; e = e.next {
		exporters++
		templates += len(e.templates)
		fields += e.fields
	}
	if exporters > 10 || exporters != len(d.exporters.byKey) || templates > 50 || fields > 400 || fields != d.exporters.fields {
		t.Errorf("%d exporters (%d), %d templates, %d fields (%d)", exporters, len(d.exporters.byKey), templates, fields, d.exporters.fields)
	}
	if countOf(d, "exporters_evicted") == 0 || countOf(d, "templates_evicted") == 0 {
		t.Errorf("evictions are not counted: %v", counted(d))
	}
	last := d.exporters.first
	if last.addr != addr("10.0.3.231") || last.template(256+7, 1) == nil {
		t.Errorf("the last exporter lost its last template")
	}
}

// A set of the shortest records that a full datagram holds is cut off.
func TestTooManyRecords(t *testing.T) {
	d := NewDecoder(Config{})
	got := feed(d, ipfixOf(1, 0, set(2, templateOf(256, spec{27, 0, 0}, spec{366, 4, 0})), set(256, make([]byte, 60_000))))
	if len(got) != MaxRecords || countOf(d, "too_many_records") != 1 {
		t.Errorf("%d records, %v", len(got), counted(d))
	}
	got = feed(d, ipfixOf(1, 0, set(2, templateOf(256, spec{5, 1, 0})), set(256, make([]byte, 60_000))))
	if len(got) != 0 || countOf(d, "other_records") != MaxRecords {
		t.Errorf("%d records, %v", len(got), counted(d))
	}
}

func TestVersionsAreTold(t *testing.T) {
	for first, want := range map[string]flow.Version{
		"\x00\x01\x00\x00": flow.NetFlow1, "\x00\x05\x00\x01": flow.NetFlow5, "\x00\x07\x00\x01": flow.NetFlow7, "\x00\x09\x00\x01": flow.NetFlow9,
		"\x00\x0a\x00\x10": flow.IPFIX, "\x00\x00\x00\x05": flow.SFlow5, "\x00\x00\x00\x04": flow.Captured, "\x00\x06\x00\x00": flow.Captured, "\x00\x05": flow.Captured,
	} {
		if got := protocol([]byte(first)); got != want {
			t.Errorf("%x: %v, want %v", first, got, want)
		}
	}
}

// A datagram full of templates is read no further than an exporter may have them:
// each more would push out one of its own.
func TestDatagramFullOfTemplates(t *testing.T) {
	var all [][]byte
	for id := uint16(256); id < 256+3*DefaultMaxTemplates; id++ {
		all = append(all, templateOf(id, spec{8, 4, 0}))
	}
	d := NewDecoder(Config{})
	got := feed(d, ipfixOf(1, 0, set(2, all...), set(256, []byte{10, 0, 0, 1})), ipfixOf(1, 0, set(2, all[len(all)-2:]...), set(256+3*DefaultMaxTemplates-1, []byte{10, 0, 0, 2})))
	if len(got) != 2 || d.exporters.first.view().Templates != DefaultMaxTemplates || countOf(d, "too_many_templates") != 1 || countOf(d, "templates_evicted") != 2 {
		t.Errorf("%d records, %d templates, %v", len(got), d.exporters.first.view().Templates, counted(d))
	}
	if first := d.exporters.first; first.templates[templateKey{id: 258}] == nil || first.templates[templateKey{id: 256}] != nil {
		t.Error("it was not the oldest that gave way")
	}
}
