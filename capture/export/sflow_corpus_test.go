package export

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket/pcapgo"

	"vft/capture/flow"
	"vft/capture/packet"
)

// sflowCorpus returns the directory of the reference captures.
func sflowCorpus(t testing.TB) string {
	t.Helper()
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = "../../../shared"
	}
	dir := filepath.Join(root, "corpus", "flow-export", "sflow")
	if _, err := os.Stat(dir); err != nil {
		missing(t, "the reference captures: set VFT_CORPUS")
	}
	return dir
}

// missing skips a test whose requirement is not there, but not where all
// tests must run.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}

// sflowArrival is one datagram of a reference capture.
type sflowArrival struct {
	from    netip.AddrPort
	at      int64
	payload []byte
}

// sflowArrivals reads the datagrams of a capture, or of a file that is one payload.
func sflowArrivals(t testing.TB, name string) (list []sflowArrival) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if !strings.HasSuffix(name, ".pcap") {
		payload, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return []sflowArrival{{router, sentAt.UnixNano(), payload}}
	}
	reader, err := pcapgo.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var p packet.Parsed
	for {
		data, info, err := reader.ReadPacketData()
		if err != nil {
			return list
		}
		p.Decode(packet.LinkType(reader.LinkType()), data, info.Length)
		if p.Transport == packet.UDP {
			list = append(list, sflowArrival{netip.AddrPortFrom(p.Src.Netip(), p.SrcPort), info.Timestamp.UnixNano(), p.Payload()})
		}
	}
}

// sflowTruth is what sfcapd found.
type sflowTruth struct {
	Records int              `json:"records"`
	Packets uint64           `json:"packets"`
	Bytes   uint64           `json:"bytes"`
	Flows   []sflowTruthFlow `json:"flows"`
}

type sflowTruthFlow struct {
	Proto   uint8  `json:"proto"`
	Src4    string `json:"src4_addr"`
	Src6    string `json:"src6_addr"`
	Dst4    string `json:"dst4_addr"`
	Dst6    string `json:"dst6_addr"`
	SrcPort uint16 `json:"src_port"`
	DstPort uint16 `json:"dst_port"`
	Flags   string `json:"tcp_flags"`
	Packets uint64 `json:"in_packets"`
	Bytes   uint64 `json:"in_bytes"`
}

func (f *sflowTruthFlow) String() string {
	flags := ""
	if f.Proto == 6 {
		flags = strings.ReplaceAll(f.Flags, ".", "")
	}
	return fmt.Sprintf("%d %s:%d %s:%d %s %d %d", f.Proto, f.Src4+f.Src6, f.SrcPort, f.Dst4+f.Dst6, f.DstPort, flags, f.Packets, f.Bytes)
}

func sflowLine(r *flow.Record) string {
	flags := ""
	for i, name := range "FSRPAUEC" {
		if r.Fwd.Flags>>i&1 == 1 {
			flags = string(name) + flags
		}
	}
	return fmt.Sprintf("%d %s:%d %s:%d %s %d %d", r.Proto, r.Src, r.SrcPort, r.Dst, r.DstPort, flags, r.Fwd.Packets, r.Fwd.Bytes)
}

func TestSflowCorpus(t *testing.T) {
	dir := sflowCorpus(t)
	names, _ := filepath.Glob(filepath.Join(dir, "*.flowtruth.json"))
	if len(names) < 15 {
		t.Fatalf("%d files in %s", len(names), dir)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var truth struct {
			Nfdump sflowTruth `json:"nfdump"`
		}
		if err := json.Unmarshal(text, &truth); err != nil {
			t.Fatal(err)
		}
		want := truth.Nfdump
		d := NewDecoder(Config{})
		var got sflowTruth
		var lines, wantLines []string
		var into []flow.Record
		for _, a := range sflowArrivals(t, strings.TrimSuffix(name, ".flowtruth.json")) {
			into = d.Datagram(a.from, a.payload, a.at, into[:0])
			for i := range into {
				r := &into[i]
				got.Records++
				got.Packets += r.Packets()
				got.Bytes += r.Bytes()
				lines = append(lines, sflowLine(r))
				if r.First != a.at || r.Last != a.at || r.Export.Exporter != packet.AddrFrom(a.from.Addr()) || r.Export.Version != flow.SFlow5 {
					t.Errorf("%s: %+v", name, r)
				}
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(sflowTruth{want.Records, want.Packets, want.Bytes, nil}) {
			t.Errorf("%s: %+v, want %d records, %d packets, %d bytes", filepath.Base(name), got, want.Records, want.Packets, want.Bytes)
		}
		for i := range want.Flows {
			wantLines = append(wantLines, want.Flows[i].String())
		}
		if want.Flows != nil && !slices.Equal(lines, wantLines) {
			t.Errorf("%s:\n got %q\nwant %q", filepath.Base(name), lines, wantLines)
		}
	}
}

// The UDP header of this one states eight bytes of payload, too few for sFlow.
func TestSflowMalformedCapture(t *testing.T) {
	d := NewDecoder(Config{})
	name := filepath.Join(sflowCorpus(t), "..", "..", "malformed", "tcpdump__sflow_print-segv.pcap")
	for _, a := range sflowArrivals(t, name) {
		if got := d.Datagram(a.from, a.payload, a.at, nil); len(got) != 0 || countOf(d, "short_header") != 1 {
			t.Errorf("%+v", got)
		}
	}
	if countOf(d, "datagrams") != 1 {
		t.Error("the capture has no datagram")
	}
}
