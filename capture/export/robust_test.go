package export

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"vft/capture/flow"
)

// samples returns one datagram of each version with all that it may hold.
func samples() map[flow.Version][]byte {
	named := []spec{{8, 4, 0}, {12, 4, 0}, {82, 65535, 0}, {2, 4, reversePEN}, {90, 3, 35632}, {152, 8, 0}, {315, 65535, 0}}
	record := append([]byte{10, 0, 0, 1, 10, 0, 0, 2, 3, 'a', 'b', 'c', 0, 0, 0, 1, 1, 2, 3}, u64(uint64(sentAt.UnixMilli()))...)
	frame := ethernet(0x0800, 0, tcp4(40, 2))
	record = append(append(record, 255, 0, byte(len(frame))), frame...)
	sampler, sampler9 := optionsOf(258, 1, spec{302, 4, 0}, spec{305, 4, 0}, spec{306, 4, 0}), optionsOf9(258, 1, spec{1, 4, 0}, spec{48, 1, 0}, spec{50, 4, 0})
	return map[flow.Version][]byte{
		flow.NetFlow1: fixedDatagram(flow.NetFlow1, 2, 0),
		flow.NetFlow5: fixedDatagram(flow.NetFlow5, 2, 0),
		flow.NetFlow7: fixedDatagram(flow.NetFlow7, 2, 0),
		flow.NetFlow9: netflow9Of(1, 0, set(256, usualRecord()), set(0, templateOf(256, usual...)), set(1, sampler9), set(258, u32(0), []byte{3}, u32(10)),
			set(256, usualRecord(), usualRecord(), []byte{0, 0, 0})),
		flow.IPFIX: ipfixOf(1, 0, set(257, record), set(2, templateOf(256, modern...), templateOf(257, named...)), set(3, sampler), set(258, u32(3), u32(1), u32(9)),
			set(256, modernRecord(), modernRecord()), set(257, record, record), set(2, templateOf(256))),
	}
}

// check decodes a datagram of a stranger, and then a good one.
func check(t testing.TB, d *Decoder, b []byte) {
	began := time.Now()
	got := d.Datagram(router, b, sentAt.UnixNano(), nil)
	if took := time.Since(began); took > 5*time.Second { // a hang, no slow machine
		t.Fatalf("%x: took %v", b, took)
	}
	if most := 2 * MaxRecords; len(got) > most {
		t.Fatalf("%x: %d records", b, len(got))
	}
	for i := range got {
		if got[i].First > got[i].Last || got[i].Last-got[i].First > maxDuration || got[i].Last > sentAt.UnixNano()+int64(2*DefaultMaxSkew) {
			t.Fatalf("%x: from %d to %d", b, got[i].First, got[i].Last)
		}
	}
	if good := d.Datagram(netip.MustParseAddrPort("192.0.2.77:1"), fixedDatagram(flow.NetFlow5, 1, 0), sentAt.UnixNano(), nil); len(good) != 1 {
		t.Fatalf("%x: the next good datagram has %d records", b, len(good))
	}
	if len(d.exporters.byKey) > d.cfg.MaxExporters || d.exporters.fields > d.cfg.MaxFields || d.pending.bytes > d.cfg.MaxPending {
		t.Fatalf("%x: %d exporters, %d fields, %d bytes wait", b, len(d.exporters.byKey), d.exporters.fields, d.pending.bytes)
	}
}

func TestCutAndChanged(t *testing.T) {
	for version, whole := range samples() {
		if got := NewDecoder(Config{}).Datagram(router, whole, sentAt.UnixNano(), nil); len(got) < 2 {
			t.Fatalf("%v: %d records of the whole datagram", version, len(got))
		}
		kept := NewDecoder(Config{MaxExporters: 100, MaxPending: 64 << 10}) // what one leaves behind may trip the next
		for n := range len(whole) {
			check(t, NewDecoder(Config{}), whole[:n])
			check(t, kept, whole[:n])
		}
		for i := range whole {
			for change := 1; change < 256; change++ {
				changed := bytes.Clone(whole)
				changed[i] ^= byte(change)
				check(t, kept, changed)
				if i < 24 || change&(change-1) == 0 {
					check(t, NewDecoder(Config{}), changed)
				}
			}
		}
	}
}

// Every file of broken captures, as what arrives and as the payload of a datagram.
func TestMalformedFiles(t *testing.T) {
	dir, _ := readManifest(t)
	names, err := filepath.Glob(filepath.Join(dir, "malformed", "*"))
	if err != nil || len(names) < 100 {
		t.Fatalf("%d files in %s: %v", len(names), dir, err)
	}
	d := NewDecoder(Config{MaxExporters: 100})
	for _, name := range names {
		switch filepath.Ext(name) {
		case ".pcap", ".pcapng", ".dat", ".bin":
			for _, a := range arrivals(t, name) {
				check(t, d, a.payload)
			}
		}
	}
}

// A stranger who sends what he likes, from any address, makes memory grow to the
// limits and no further.
func TestGarbageDoesNotGrowMemory(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	d := NewDecoder(Config{MaxExporters: 200, MaxFields: 20_000, MaxPending: 256 << 10})
	whole := samples()
	var into []flow.Record
	round := func(datagrams int) uint64 {
		for range datagrams {
			b := bytes.Clone(whole[flow.NetFlow9])
			if random.IntN(2) == 0 {
				b = bytes.Clone(whole[flow.IPFIX])
			}
			for range random.IntN(6) {
				b[4+random.IntN(len(b)-4)] = byte(random.Uint32())
			}
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(random.Uint32()), byte(random.Uint32())}), 9)
			into = d.Datagram(from, b, sentAt.UnixNano(), into[:0])
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	early := round(20_000)
	late := round(60_000)
	if late > early+4<<20 {
		t.Errorf("the heap went from %d to %d bytes", early, late)
	}
	sum := 0
	for _, e := range d.exporters.byKey {
		sum += e.waitingBytes
	}
	if sum != d.pending.bytes {
		t.Errorf("%d bytes wait, the exporters have %d", d.pending.bytes, sum)
	}
}

func FuzzDatagram(f *testing.F) {
	for _, b := range samples() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := NewDecoder(Config{MaxExporters: 4, MaxTemplates: 8, MaxFields: 1 << 12, MaxPending: 1 << 16})
		check(t, d, b)
		check(t, d, b)
		if err := NewDecoder(Config{}).Restore(d.Save()); err != nil {
			t.Fatal(err)
		}
	})
}
