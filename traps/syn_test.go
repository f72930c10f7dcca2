package traps

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// header describes a packet to make.
type header struct {
	src, dst     string // "192.0.2.1:40000"
	seq          uint32
	ttl          uint8
	id           uint16
	df           bool
	flags        uint8
	window       uint16
	options      []byte // padded to a multiple of 4 with zeros by packet
	extension    []byte // IPv6: extension headers as they stand
	firstHeader  uint8  // IPv6: the first next header, when extension is not empty
	fragmentPart uint16 // IPv4: fragment offset in 8 bytes
}

func (h header) packet() []byte {
	src, dst := netip.MustParseAddrPort(h.src), netip.MustParseAddrPort(h.dst)
	options := slices.Clone(h.options)
	for len(options)%4 != 0 {
		options = append(options, 0)
	}
	tcp := make([]byte, 20, 60)
	binary.BigEndian.PutUint16(tcp, src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	binary.BigEndian.PutUint32(tcp[4:], h.seq)
	tcp[12], tcp[13] = byte(5+len(options)/4)<<4, h.flags
	binary.BigEndian.PutUint16(tcp[14:], h.window)
	tcp = append(tcp, options...)
	if src.Addr().Is4() {
		ip := make([]byte, 20)
		ip[0], ip[8], ip[9] = 0x45, h.ttl, 6
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(tcp)))
		binary.BigEndian.PutUint16(ip[4:], h.id)
		fragment := h.fragmentPart
		if h.df {
			fragment |= 0x4000
		}
		binary.BigEndian.PutUint16(ip[6:], fragment)
		copy(ip[12:], src.Addr().AsSlice())
		copy(ip[16:], dst.Addr().AsSlice())
		return append(ip, tcp...)
	}
	ip := make([]byte, 40)
	ip[0], ip[6], ip[7] = 0x60, 6, h.ttl
	if len(h.extension) > 0 {
		ip[6] = h.firstHeader
	}
	binary.BigEndian.PutUint16(ip[4:], uint16(len(h.extension)+len(tcp)))
	copy(ip[8:], src.Addr().AsSlice())
	copy(ip[24:], dst.Addr().AsSlice())
	return slices.Concat(ip, h.extension, tcp)
}

// The options of common systems.
var (
	linuxOptions   = []byte{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7}
	windowsOptions = []byte{2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2}
	macOptions     = []byte{2, 4, 5, 180, 1, 3, 3, 6, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 4, 2, 0, 0}
	mssOption      = []byte{2, 4, 5, 180}
)

// plain is a SYN of no particular program.
func plain() header {
	return header{src: "198.51.100.7:40000", dst: "192.0.2.1:8080", seq: 12345, ttl: 57, id: 7, df: true, flags: 2, window: 64240}
}

func TestFingerprintOfSYN(t *testing.T) {
	for _, c := range []struct {
		why                 string
		change              func(*header)
		ja4t, options       string
		class, tool         string
		wantTTL, wantScale  uint8
		wantMSS, wantWindow uint16
	}{
		{why: "Linux, seven hops away", change: func(h *header) { h.options = linuxOptions },
			ja4t: "64240_2-4-8-1-3_1460_7", options: "2-4-8-1-3", class: "linux", wantTTL: 57, wantScale: 7, wantMSS: 1460, wantWindow: 64240},
		{why: "Windows 10 starts at 128", change: func(h *header) { h.options, h.ttl = windowsOptions, 113 },
			ja4t: "64240_2-1-3-1-1-4_1460_8", options: "2-1-3-1-1-4", class: "windows", wantTTL: 113, wantScale: 8, wantMSS: 1460, wantWindow: 64240},
		{why: "macOS pads with kind 0, which JA4T lists", change: func(h *header) { h.options, h.window = macOptions, 65535 },
			ja4t: "65535_2-1-3-1-1-8-4-0-0_1460_6", options: "2-1-3-1-1-8-4-0-0", class: "macos", wantTTL: 57, wantScale: 6, wantMSS: 1460, wantWindow: 65535},
		{why: "nmap -sS", change: func(h *header) { h.options, h.window, h.df = mssOption, 1024, false },
			ja4t: "1024_2_1460_00", options: "2", class: "crafted", tool: "nmap", wantTTL: 57, wantMSS: 1460, wantWindow: 1024},
		{why: "ZMap 2", change: func(h *header) { h.id, h.window, h.df = 54321, 65535, false },
			ja4t: "65535_00_00_00", class: "crafted", tool: "zmap", wantTTL: 57, wantWindow: 65535},
		{why: "ZMap's id with options is not ZMap 2", change: func(h *header) { h.id, h.window, h.options = 54321, 65535, linuxOptions },
			ja4t: "65535_2-4-8-1-3_1460_7", options: "2-4-8-1-3", class: "linux", wantTTL: 57, wantScale: 7, wantMSS: 1460, wantWindow: 65535},
		{why: "masscan: id from destination, port and sequence", change: func(h *header) {
			h.seq, h.id, h.window, h.df = 0xdeadbeef, 0x0201^8080^0xbeef, 1024, false
		}, ja4t: "1024_00_00_00", class: "crafted", tool: "masscan", wantTTL: 57, wantWindow: 1024},
		{why: "Mirai: sequence number is the destination", change: func(h *header) { h.seq, h.window, h.df = 0xc0000201, 1300, false },
			ja4t: "1300_00_00_00", class: "crafted", tool: "mirai", wantTTL: 57, wantWindow: 1300},
		{why: "an option that is cut ends the list", change: func(h *header) { h.options = []byte{1, 1, 2, 40} },
			ja4t: "64240_1-1_00_00", options: "1-1", wantTTL: 57, wantWindow: 64240},
		{why: "a length below 2 ends the list", change: func(h *header) { h.options = []byte{1, 8, 0, 1} },
			ja4t: "64240_1_00_00", options: "1", wantTTL: 57, wantWindow: 64240},
		{why: "forty bytes of padding is the most", change: func(h *header) { h.options = slices.Repeat([]byte{1}, 40) },
			ja4t: "64240_" + strings.Repeat("1-", 39) + "1_00_00", options: strings.Repeat("1-", 39) + "1", wantTTL: 57, wantWindow: 64240},
	} {
		h := plain()
		c.change(&h)
		syn, ok := ParseSYN(h.packet())
		if !ok {
			t.Errorf("%s: not parsed", c.why)
			continue
		}
		d := syn.Details()
		if d.JA4T != c.ja4t || d.Options != c.options || d.Class != c.class || syn.Tool() != c.tool {
			t.Errorf("%s: JA4T %q options %q class %q tool %q, want %q %q %q %q", c.why, d.JA4T, d.Options, d.Class, syn.Tool(), c.ja4t, c.options, c.class, c.tool)
		}
		if d.TTL != c.wantTTL || d.Scale != c.wantScale || d.MSS != c.wantMSS || d.Window != c.wantWindow || d.DF != h.df || d.IPID != h.id {
			t.Errorf("%s: details %+v", c.why, d)
		}
	}
}

func TestPacketThatIsNoSYN(t *testing.T) {
	good := plain().packet()
	for _, c := range []struct {
		why    string
		packet []byte
		ok     bool
	}{
		{"the packet that the others are made from", good, true},
		{"data after the header is allowed", append(slices.Clone(good), "hello"...), true},
		{"nothing", nil, false},
		{"IP version 5", append([]byte{0x55}, good[1:]...), false},
		{"IP header shorter than 20 bytes", append([]byte{0x44}, good[1:]...), false},
		{"IP header longer than the packet", append([]byte{0x4f}, good[1:39]...), false},
		{"UDP", changed(good, 9, 17), false},
		{"a later fragment has no TCP header", changed(good, 7, 1), false},
		{"SYN/ACK", changed(good, 33, 0x12), false},
		{"a bare ACK", changed(good, 33, 0x10), false},
		{"TCP header shorter than 20 bytes", changed(good, 32, 4<<4), false},
		{"TCP header longer than the packet", changed(good, 32, 15<<4), false},
		{"ECN setup is a SYN too", changed(good, 33, 0xc2), true},
	} {
		if _, ok := ParseSYN(c.packet); ok != c.ok {
			t.Errorf("%s: ok = %v", c.why, ok)
		}
	}
	for n := range good {
		if _, ok := ParseSYN(good[:n]); ok {
			t.Errorf("%d bytes of %d were accepted", n, len(good))
		}
	}
}

func changed(b []byte, at int, value byte) []byte {
	b = slices.Clone(b)
	b[at] = value
	return b
}

func TestSYNOverIPv6(t *testing.T) {
	h := plain()
	h.src, h.dst, h.options, h.ttl = "[2001:db8::7]:40000", "[2001:db8::1]:443", linuxOptions, 60
	hop := []byte{6, 0, 1, 4, 0, 0, 0, 0}
	twoUnits := append([]byte{6, 1}, make([]byte, 14)...)
	first, later := []byte{6, 0, 0, 1, 0, 0, 0, 9}, []byte{6, 0, 0, 8, 0, 0, 0, 9}
	for _, c := range []struct {
		why       string
		first     uint8
		extension []byte
		ok        bool
	}{
		{"no extension header", 6, nil, true},
		{"hop-by-hop options", 0, hop, true},
		{"a longer routing header", 43, twoUnits, true},
		{"hop-by-hop, then destination options", 0, slices.Concat([]byte{60, 0, 1, 4, 0, 0, 0, 0}, hop), true},
		{"the first fragment", 44, first, true},
		{"a later fragment", 44, later, false},
		{"an unknown header", 99, hop, false},
		{"no next header", 59, hop, false},
		{"a header that reaches past the end", 0, []byte{6, 255, 1, 4, 0, 0, 0, 0}, false},
	} {
		h.firstHeader, h.extension = c.first, c.extension
		syn, ok := ParseSYN(h.packet())
		if ok != c.ok {
			t.Errorf("%s: ok = %v", c.why, ok)
		}
		if ok && (syn.Src.String() != h.src || syn.Dst.String() != h.dst || syn.Class() != "linux" || syn.TTL != 60 || syn.DF || syn.Tool() != "") {
			t.Errorf("%s: %+v", c.why, syn)
		}
	}
}

// TestParseSYNReturnsWhatWasWritten makes packets from random fields.
func TestParseSYNReturnsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := header{
			seq: rapid.Uint32().Draw(t, "seq"), ttl: rapid.Uint8().Draw(t, "ttl"), id: rapid.Uint16().Draw(t, "id"),
			df: rapid.Bool().Draw(t, "df"), window: rapid.Uint16().Draw(t, "window"), flags: 2,
			options: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "options"),
		}
		port := rapid.Uint16().Draw(t, "port")
		v4 := rapid.Bool().Draw(t, "v4")
		src, dst := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("203.0.113.5")
		if !v4 {
			src, dst = netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("2001:db8::5")
		}
		h.src, h.dst = netip.AddrPortFrom(src, port).String(), netip.AddrPortFrom(dst, port^0xffff).String()
		syn, ok := ParseSYN(h.packet())
		if !ok {
			t.Fatalf("%+v was not parsed", h)
		}
		want := SYN{Src: netip.MustParseAddrPort(h.src), Dst: netip.MustParseAddrPort(h.dst), Seq: h.seq, TTL: h.ttl, IPID: h.id, DF: h.df, Window: h.window}
		if !v4 {
			want.IPID, want.DF = 0, false
		}
		got := syn
		got.MSS, got.HasMSS, got.Scale, got.HasScale, got.kinds, got.n = 0, false, 0, false, [40]uint8{}, 0
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestParseSYNDoesNotAllocate(t *testing.T) {
	h := plain()
	h.options = linuxOptions
	packet := h.packet()
	var buffer [192]byte
	if n := testing.AllocsPerRun(100, func() {
		syn, ok := ParseSYN(packet)
		if !ok || len(syn.AppendJA4T(buffer[:0])) == 0 || syn.Class() != "linux" || syn.Tool() != "" {
			t.Fatal("not parsed")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseSYN(f *testing.F) {
	h := plain()
	f.Add(h.packet())
	h.options = macOptions
	f.Add(h.packet())
	h.src, h.dst, h.extension = "[2001:db8::7]:40000", "[2001:db8::1]:443", []byte{6, 0, 1, 4, 0, 0, 0, 0}
	f.Add(h.packet())
	f.Fuzz(func(t *testing.T, packet []byte) {
		syn, ok := ParseSYN(packet)
		if !ok {
			if !reflect.DeepEqual(syn, SYN{}) {
				t.Fatalf("a packet that is refused left %+v", syn)
			}
			return
		}
		d := syn.Details()
		if len(syn.Options()) > 40 || strings.Count(d.JA4T, "_") != 3 || !strings.Contains(d.JA4T, "_"+d.Options) {
			t.Fatalf("options %v, details %+v", syn.Options(), d)
		}
		syn.Tool()
		longer, ok := ParseSYN(append(slices.Clone(packet), 0))
		if !ok || longer != syn {
			t.Fatalf("one byte more after the header gave %+v, not %+v", longer, syn)
		}
	})
}

func BenchmarkParseSYN(b *testing.B) {
	h := plain()
	h.options = linuxOptions
	packet := h.packet()
	for b.Loop() {
		if syn, ok := ParseSYN(packet); !ok || syn.Tool() != "" {
			b.Fatal("not parsed")
		}
	}
}
