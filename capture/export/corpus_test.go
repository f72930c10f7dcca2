package export

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"vft/capture/flow"
	"vft/capture/packet"
)

// exportTruth is what nfcapd and tshark made of a file of exported flows.
type exportTruth struct {
	Nfdump struct {
		Records   int         `json:"records"`
		Packets   uint64      `json:"packets"`
		Bytes     uint64      `json:"bytes"`
		Flows     []truthFlow `json:"flows"`
		FlowsFile string      `json:"flows_file"`
	} `json:"nfdump"`
}

// truthFlow is one record as nfdump printed it.
type truthFlow struct {
	First      string  `json:"first"`
	Last       string  `json:"last"`
	Proto      uint8   `json:"proto"`
	Src4       string  `json:"src4_addr"`
	Dst4       string  `json:"dst4_addr"`
	Src6       string  `json:"src6_addr"`
	Dst6       string  `json:"dst6_addr"`
	SrcPort    uint16  `json:"src_port"`
	DstPort    uint16  `json:"dst_port"`
	Flags      *string `json:"tcp_flags"`
	Packets    uint64  `json:"in_packets"`
	Bytes      uint64  `json:"in_bytes"`
	OutPackets uint64  `json:"out_packets"`
	OutBytes   uint64  `json:"out_bytes"`
}

// line is what is compared of a record, times apart.
func (f *truthFlow) line() string {
	src, dst := f.Src4, f.Dst4
	if none := func(a string) bool { return a == "" || a == "0.0.0.0" }; none(src) && none(dst) && f.Src6 != "" {
		src, dst = f.Src6, f.Dst6
	}
	flags := "........"
	if f.Flags != nil {
		flags = *f.Flags
	}
	if !hasPorts(f.Proto) {
		f.SrcPort, f.DstPort = 0, 0
	}
	return fmt.Sprintf("%d %s:%d %s:%d %s %d/%d %d/%d", f.Proto, src, f.SrcPort, dst, f.DstPort, flags, f.Packets, f.Bytes, f.OutPackets, f.OutBytes)
}

// recordLine is truthFlow.line of a record, its counters divided by rate. nfdump
// knows flags of TCP alone; ICMP has none in its output.
func recordLine(r *flow.Record, rate uint64) string {
	flags := []byte("........")
	for i, c := range "FSRPAUEC" {
		if r.Fwd.Flags>>i&1 == 1 && r.Proto != 1 && r.Proto != 58 {
			flags[7-i] = byte(c)
		}
	}
	return fmt.Sprintf("%d %s:%d %s:%d %s %d/%d %d/%d", r.Proto, r.Src, r.SrcPort, r.Dst, r.DstPort, flags,
		r.Fwd.Packets/rate, r.Fwd.Bytes/rate, r.Rev.Packets/rate, r.Rev.Bytes/rate)
}

func (f *truthFlow) times(t *testing.T) (first, last time.Time) {
	t.Helper()
	if f.First == "" { // nothing but a piece of a packet
		return first, last
	}
	const layout = "2006-01-02T15:04:05.000"
	first, err := time.Parse(layout, f.First)
	if err != nil {
		t.Fatal(err)
	}
	if last, err = time.Parse(layout, f.Last); err != nil {
		t.Fatal(err)
	}
	if last.Before(first) {
		first, last = last, first
	}
	return first, last
}

// read reads the truth of a file.
func readTruth(t *testing.T, path string) (truth exportTruth) {
	t.Helper()
	text, err := os.ReadFile(path + ".flowtruth.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &truth); err != nil {
		t.Fatal(err)
	}
	if truth.Nfdump.FlowsFile != "" {
		truth.Nfdump.Flows = readFlows(t, filepath.Join(filepath.Dir(path), truth.Nfdump.FlowsFile))
	}
	return truth
}

func readFlows(t *testing.T, path string) (flows []truthFlow) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(plain).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) uint64 { n, _ := strconv.ParseUint(s, 10, 64); return n }
	for _, r := range rows[1:] {
		f := truthFlow{
			First: r[0], Last: r[1], Proto: uint8(number(r[2])), Src4: r[3], Src6: r[4], SrcPort: uint16(number(r[5])),
			Dst4: r[6], Dst6: r[7], DstPort: uint16(number(r[8])), Packets: number(r[10]), Bytes: number(r[11]),
			OutPackets: number(r[12]), OutBytes: number(r[13]),
		}
		if r[9] != "" {
			f.Flags = &r[9]
		}
		flows = append(flows, f)
	}
	return flows
}

// manifest is what the list of the reference captures says of a file.
type manifest struct {
	File      string   `json:"file"`
	Truth     string   `json:"flow_truth"`
	Agree     bool     `json:"decoders_agree"`
	Templates []string `json:"needs_templates_from"`
}

func readManifest(t testing.TB) (dir string, files []manifest) {
	t.Helper()
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(root, "corpus")
	text, err := os.ReadFile(filepath.Join(dir, "MANIFEST.json"))
	if err != nil {
		missing(t, "the reference captures: set VFT_CORPUS to the directory that holds corpus/")
	}
	var list struct{ Files []manifest }
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	for _, f := range list.Files {
		if f.Truth != "" && !strings.HasPrefix(f.File, "flow-export/sflow/") {
			files = append(files, f)
		}
	}
	return dir, files
}

// aspect is what is not compared of a file.
type aspect string

const (
	timesOf  aspect = "times"
	fieldsOf aspect = "fields"  // other than the sums of packets and bytes
	sidesOf  aspect = "sides"   // which one began, and the TCP flags
	allOf    aspect = "records" // nothing is
)

// different lists the files where vft has something else than nfcapd, with the
// reason.
var different = map[string]struct {
	aspect aspect
	why    string
}{
	"flow-export/ipfix/akvorado__netflow_ipfix-srv6-data.pcap":                                     {allOf, "records that are pieces of packets: nfcapd does not look into them"},
	"flow-export/ipfix/akvorado__netflow_juniper-cpid-data.pcap":                                   {allOf, "the same"},
	"flow-export/ipfix/akvorado__netflow_physicalinterfaces.pcap":                                  {fieldsOf, "nfcapd loses the IPv4 addresses of templates that have both versions"},
	"flow-export/ipfix/pmacct__501-IPFIXv10-BGP-IPv6-CISCO-MPLS_traffic-00.pcap":                   {fieldsOf, "nfcapd loses the IPv6 addresses of templates that have both versions"},
	"flow-export/ipfix/pmacct__502-IPFIXv10-BGP-IPv6-CISCO-SRv6-lcomms_traffic-00.pcap":            {fieldsOf, "the same"},
	"flow-export/ipfix/lab_mixed_softflowd_1_1_0_v_10_b_biflow.pcap":                               {sidesOf, "nfcapd leaves the lower address first, and shows the TCP flags of the way back"},
	"flow-export/ipfix/logstash-codec-netflow__ipfix_test_mikrotik_data258.dat":                    {timesOf, "times since a start that is not told: nfcapd has none, vft lets the flows end when they were sent"},
	"flow-export/ipfix/logstash-codec-netflow__ipfix_test_mikrotik_data259.dat":                    {timesOf, "the same"},
	"flow-export/ipfix/pmacct__104-IPFIXv10-IPv6-CISCO-sampling_option_traffic-00.pcap":            {timesOf, "the same"},
	"flow-export/ipfix/pmacct__111-IPFIXv10-NFv9-IPv6-IPv4-mix_sources_traffic-01.pcap":            {timesOf, "the same"},
	"flow-export/ipfix/logstash-codec-netflow__ipfix_test_netscaler_data.dat":                      {timesOf, "nfcapd does not read microseconds; the flows end after their datagram, and vft lets them end with it"},
	"flow-export/ipfix/logstash-codec-netflow__ipfix_test_nokia_bras_data256.dat":                  {timesOf, "a start without an end: nfcapd has 1970 for it"},
	"flow-export/ipfix/pktvisor__ipfix.pcap":                                                       {allOf, "the exporter sends differences and totals: nfcapd takes the totals, vft and tshark the differences"},
	"flow-export/netflow9/akvorado__netflow_nat.pcap":                                              {allOf, "translations, which are no flows that passed"},
	"flow-export/netflow9/logstash-codec-netflow__netflow9_test_cisco_1941K9.dat":                  {timesOf, "no times: vft has that of the datagram"},
	"flow-export/netflow9/libnetflow9__1.pcap":                                                     {timesOf, "the same"},
	"flow-export/netflow9/logstash-codec-netflow__netflow9_test_macaddr_data.dat":                  {timesOf, "the same"},
	"flow-export/netflow9/logstash-codec-netflow__netflow9_test_cisco_wlc_data261.dat":             {fieldsOf, "no times, and no addresses but that of a wireless client, which nfcapd does not read"},
	"flow-export/netflow9/logstash-codec-netflow__netflow9_test_cisco_asa_1_data.dat":              {timesOf, "one time alone: nfcapd has 1970 for the other"},
	"flow-export/netflow9/logstash-codec-netflow__netflow9_test_fortigate_fortios_521_data257.dat": {timesOf, "the flow ends a week after its datagram, and vft lets it end with it"},
	"flow-export/netflow9/telegraf__netflow_v9_example_netflow_v9.bin":                             {timesOf, "the flows end a day after their datagram"},
	"flow-export/netflow9/logstash-codec-netflow__netflow9_test_unknown_tpl266_292_data.dat":       {timesOf, "nfcapd does not read seconds"},
	"malformed/logstash-codec-netflow__netflow5_test_invalid02.dat":                                {allOf, "states 163 records and holds 30, which vft and tshark read"},
}

// sampled lists the files whose counters vft corrects and nfcapd does not, with
// the rate.
var sampled = map[string]uint64{
	"flow-export/ipfix/akvorado__netflow_physicalinterfaces.pcap":   1000, // by an option for the template
	"flow-export/netflow9/akvorado__netflow_samplingrate-data.pcap": 2048, // in the record
}

// Records, packets and bytes are those that nfcapd and tshark found, and the
// fields those that nfdump printed.
func TestCorpus(t *testing.T) {
	dir, files := readManifest(t)
	if len(files) < 90 {
		t.Fatalf("%d files of exported flows in %s", len(files), dir)
	}
	for _, f := range files {
		t.Run(f.File, func(t *testing.T) { checkFile(t, dir, f) })
	}
}

func checkFile(t *testing.T, dir string, f manifest) {
	path := filepath.Join(dir, f.File)
	d := NewDecoder(Config{MaxSkew: -1})
	var got []flow.Record
	for _, name := range f.Templates { // some hold records too, and the truth counts them
		for _, a := range arrivals(t, filepath.Join(filepath.Dir(path), name)) {
			got = d.Datagram(a.from, a.payload, a.at, got)
		}
	}
	for _, a := range arrivals(t, path) {
		got = d.Datagram(a.from, a.payload, a.at, got)
	}
	truth := readTruth(t, path)
	d1, listed := different[f.File]
	if same, _ := compare(t, f.File, "", got, truth); same && listed {
		t.Errorf("listed as different (%s), and is not", d1.why)
	}
	if d1.aspect == allOf {
		return
	}
	if same, report := compare(t, f.File, d1.aspect, got, truth); !same {
		t.Error(report)
	}
}

// compare compares records with the truth but for one aspect.
func compare(t *testing.T, name string, but aspect, got []flow.Record, truth exportTruth) (same bool, report string) {
	rate := max(1, sampled[name])
	var gotLines, wantLines []string
	var packets, octets uint64
	for i := range got {
		if key := got[i].Canonical(); but == sidesOf && key != got[i].Key {
			got[i].Key, got[i].Fwd, got[i].Rev = key, got[i].Rev, got[i].Fwd
		}
		gotLines = append(gotLines, masked(but, recordLine(&got[i], rate))+span(but, time.Unix(0, got[i].First), time.Unix(0, got[i].Last)))
		packets += got[i].Fwd.Packets / rate
		octets += got[i].Fwd.Bytes / rate
	}
	for _, f := range truth.Nfdump.Flows {
		first, last := f.times(t)
		wantLines = append(wantLines, masked(but, f.line())+span(but, first, last))
	}
	slices.Sort(gotLines)
	slices.Sort(wantLines)
	if but == fieldsOf {
		gotLines, wantLines = nil, nil
	}
	want := truth.Nfdump
	return len(got) == want.Records && packets == want.Packets && octets == want.Bytes && slices.Equal(gotLines, wantLines),
		fmt.Sprintf("got %d records, %d packets, %d bytes; want %d, %d, %d\ntoo much %q\ntoo little %q", len(got), packets, octets,
			want.Records, want.Packets, want.Bytes, without(gotLines, wantLines), without(wantLines, gotLines))
}

// without returns the first lines of a that b lacks.
func without(a, b []string) (out []string) {
	left := slices.Clone(b)
	for _, line := range a {
		if i := slices.Index(left, line); i >= 0 {
			left = slices.Delete(left, i, i+1)
		} else if len(out) < 3 {
			out = append(out, line)
		}
	}
	return out
}

// masked takes the flags out of a line where they are not compared.
func masked(but aspect, line string) string {
	if but != sidesOf {
		return line
	}
	words := strings.Fields(line)
	return strings.Join(slices.Delete(words, 3, 4), " ")
}

// span is the part of a line for times, in milliseconds as nfdump prints them.
func span(but aspect, first, last time.Time) string {
	if but == timesOf {
		return ""
	}
	return fmt.Sprintf(" %d-%d", first.UnixMilli(), last.UnixMilli())
}

// arrival is one datagram of a capture.
type arrival struct {
	from    netip.AddrPort
	at      int64
	payload []byte
}

// arrivals reads the UDP datagrams of a capture, or of a file that is one payload.
func arrivals(t testing.TB, name string) (list []arrival) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var source interface {
		ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
		LinkType() layers.LinkType
	}
	switch filepath.Ext(name) {
	case ".pcap", ".pcapng":
		if source, err = pcapgo.NewReader(bytes.NewReader(text)); err != nil {
			source, err = pcapgo.NewNgReader(bytes.NewReader(text), pcapgo.DefaultNgReaderOptions)
		}
	default:
		return []arrival{{router, sentAt.UnixNano(), text}}
	}
	if err != nil {
		return nil // a broken capture has no datagrams
	}
	var p packet.Parsed
	for {
		data, info, err := source.ReadPacketData()
		if err != nil {
			return list
		}
		p.Decode(packet.LinkType(source.LinkType()), data, info.Length)
		if p.Transport == packet.UDP {
			list = append(list, arrival{netip.AddrPortFrom(p.Src.Netip(), p.SrcPort), info.Timestamp.UnixNano(), p.Payload()})
		}
	}
}
