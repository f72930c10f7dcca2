package export

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func strangerAt(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
}

// Whoever forges exporters, and their templates, does not push out one that has been
// heard for some time.
func TestForgedExportersDoNotPushOut(t *testing.T) {
	for why, flood := range map[string][]byte{
		"one template each":           netflow9Of(9, 0, set(0, templateOf(256, usual...))),
		"templates of as many fields": ipfixOf(9, 0, set(2, templateOf(256, make([]spec, maxTemplateFields-1)...))),
	} {
		d := NewDecoder(Config{MaxExporters: 100, MaxFields: 5000})
		at := sentAt.UnixNano()
		d.Datagram(router, netflow9Of(7, 0, set(0, templateOf(256, usual...))), at, nil)
		for range provenDatagrams {
			at += provenAfter / 2
			d.Datagram(router, netflow9Of(7, 0, set(256, usualRecord())), at, nil)
		}
		for i := range 10_000 {
			d.Datagram(strangerAt(i), flood, at, nil)
		}
		if got := d.Datagram(router, netflow9Of(7, 0, set(256, usualRecord())), at, nil); len(got) != 1 || countOf(d, "exporters_evicted") == 0 {
			t.Errorf("%s: %d records, %v", why, len(got), counted(d))
		}
		if d.exporters.fields > d.cfg.MaxFields || len(d.exporters.byKey) > d.cfg.MaxExporters {
			t.Errorf("%s: %d fields of %d exporters", why, d.exporters.fields, len(d.exporters.byKey))
		}
	}
}

// The order holds together whatever comes: the proven by the last datagram, then
// newcomers; at most three quarters are proven.
func TestOrderOfExporters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := NewDecoder(Config{MaxExporters: rapid.IntRange(1, 12).Draw(t, "most"), MaxFields: 200})
		at := sentAt.UnixNano()
		for range rapid.IntRange(1, 200).Draw(t, "datagrams") {
			at += rapid.Int64Range(1, int64(provenAfter)).Draw(t, "wait")
			d.Datagram(strangerAt(rapid.IntRange(0, 15).Draw(t, "who")), netflow9Of(7, 0, set(0, templateOf(256, usual...))), at, nil)
			x, n, proven := &d.exporters, 0, 0
			var before *exporter
			for e := x.first; e != nil; e = e.next {
				if e.prev != before || before != nil && e.proven && before.last < e.last || before != nil && e.proven && !before.proven {
					t.Fatalf("exporter %d stands at the wrong place", n)
				}
				if n++; e.proven {
					proven++
				} else if (before == nil || before.proven) && x.newest != e {
					t.Fatal("the newest is another")
				}
				before = e
			}
			if x.last != before || n != len(x.byKey) || proven != x.proven || proven > d.cfg.MaxExporters/4*3 || n > d.cfg.MaxExporters {
				t.Fatalf("%d exporters (%d), %d proven (%d)", n, len(x.byKey), proven, x.proven)
			}
		}
	})
}
