package capture

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/stat"
)

// truth is what tshark and libpcap say of a capture.
type truth struct {
	counts   map[string]float64
	Packets  int     `json:"packets"`
	Rc       int     `json:"tshark_rc"`
	Libpcap  *int    `json:"libpcap_packets"`
	Min, Max float64 // min_ts, max_ts: seconds
}

// different lists the captures where vft counts otherwise than tshark, with the
// counter and the reason. "flows" and "windows" stand for those tables.
var different = map[string]map[string]string{
	"formats/gopacket__tests_be_test017.pcapng": blocksAsPackets,
	"formats/gopacket__tests_le_test017.pcapng": blocksAsPackets,
	"formats/gopacket__tests_be_test018.pcapng": blocksAsPackets,
	"formats/gopacket__tests_le_test018.pcapng": blocksAsPackets,
	"formats/gopacket__tests_be_test102.pcapng": blocksAsPackets,
	"formats/gopacket__tests_le_test102.pcapng": blocksAsPackets,
	"formats/tcpdump__erspan-type-ii-3.pcap":    {"vlan_tagged": "tshark counts the tags of the frames inside ERSPAN; the outer frames have none"},
	"normal/PcapPlusPlus__ipv4-options.pcap": {
		"unique_dst_ip":               "tshark takes the last address of a source route for the destination, vft the one in the header",
		"unique_5tuple_bidirectional": "the same",
		"flows":                       "the same",
	},
	"malformed/suricata-verify__firewall_tcp-session-decode-malformed-ipv4.pcap": {
		"tcp":                         "tshark stops at a bad IPv4 option; the length of the header is sound, and vft reads the TCP header as a host would",
		"unique_5tuple_bidirectional": "the same",
	},
	"malformed/maltrail__sensor_tests_corpus_truncated.pcap": {
		"unique_5tuple_bidirectional": "IP headers without addresses: tshark tells an unread protocol from protocol 0, vft does not",
	},
	"scan/bro-simple-scan__testing_pcaps_445_scan.pcap": {
		"flows": "not in time order: the truth has the first and the last packet of a flow in the file, vft the earliest and the latest",
	},
	"normal/bulk_ndpi_mix.pcap": {
		"flows":   "the same, for one flow",
		"windows": "not in time order: a packet older than the open window counts in the open one",
	},
	"normal/nDPI__srvloc.pcap": {
		"flows": "two packets of one flow lie twelve days apart; a record holds 78 hours",
	},
	"malformed/tcpdump__timestamp_invalid_micro.pcap": {
		"times": "microseconds beyond a second wrap around in tshark and count on in vft",
	},
	"malformed/tcpdump__ipv6_missing_jumbo_payload_option.pcap": {
		"ip_bytes": "an IPv6 length of 0 means all that was captured, as large segments have it; tshark counts the header",
	},
	"malformed/tcpdump__quic_32_bit_pointer_overflow.pcap": {
		"ip_bytes": "the same",
	},
	"malformed/nDPI__fuzz-2006-06-26-2594.pcap": {
		"unique_5tuple_bidirectional": "the same",
	},
}

var blocksAsPackets = map[string]string{
	"packets":    "tshark counts custom and journal blocks as packets; libpcap and vft do not",
	"bytes_wire": "the same", "bytes_captured": "the same", "non_ip": "the same",
}

// corpus returns the directory of reference captures.
func corpus(t testing.TB) string {
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	dir := filepath.Join(root, "corpus")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/", err)
		}
		t.Skipf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/", err)
	}
	return dir
}

// replay is what vft makes of one capture.
type replay struct {
	report Report
	totals *stat.Totals
	flows  []flow.Record
}

func replayFile(t *testing.T, path string, origin int64, interval func(*stat.Interval)) replay {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a hang is a failure
	defer cancel()
	var out replay
	shard := NewShard(ShardConfig{
		Origin:   origin,
		Flow:     flow.Config{Max: 1 << 22, Idle: -1, Active: -1, SplitFragments: true, Emit: func(r *flow.Record) { out.flows = append(out.flows, *r) }},
		Interval: interval,
	})
	file := File{Paths: []string{path}}
	reports, err := file.Run(ctx, shard.Packet)
	if err != nil {
		t.Logf("%s: %v", path, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s: not read within a minute", path)
	}
	shard.Close()
	if len(reports) > 0 {
		out.report = reports[0]
	}
	out.totals = shard.Totals()
	return out
}

func TestCorpus(t *testing.T) {
	root := corpus(t)
	files, off := 0, map[string]bool{}
	for _, folder := range []string{"scan", "attack", "normal", "formats", "malformed"} {
		paths, err := filepath.Glob(filepath.Join(root, folder, "*.truth.json"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no captures in %s: %v", folder, err)
		}
		for _, path := range paths {
			path = strings.TrimSuffix(path, ".truth.json")
			name := folder + "/" + filepath.Base(path)
			for what, text := range compareAll(t, path) {
				off[name+" "+what] = true
				if different[name][what] == "" {
					t.Errorf("%s: %s: %s", name, what, text)
				}
			}
			files++
		}
	}
	for name, why := range different {
		for what := range why {
			if !off[name+" "+what] {
				t.Errorf("%s: %s agrees by now: take it off the list", name, what)
			}
		}
	}
	t.Logf("%d captures; %d values differ, each with a reason", files, len(off))
}

// compareAll returns in words what differs from the truth.
func compareAll(t *testing.T, path string) map[string]string {
	t.Helper()
	want := readTruth(t, path)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := replayFile(t, path, 0, nil)
	runtime.ReadMemStats(&after)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if used, most := after.TotalAlloc-before.TotalAlloc, uint64(64<<20+100*info.Size()); used > most {
		t.Errorf("%s: %d bytes allocated, more than %d", path, used, most)
	}
	off := compareCounts(got, want)
	if rows := readTable(t, path+".flows.csv"); rows != nil {
		if text := compareFlows(got.flows, rows); text != "" {
			off["flows"] = text
		}
	}
	if rows := readTable(t, path+".windows1s.csv"); rows != nil {
		if text := compareWindows(t, path, rows); text != "" {
			off["windows"] = text
		}
	}
	return off
}

func compareCounts(got replay, want truth) map[string]string {
	off := map[string]string{}
	if want.Rc != 0 && want.Packets == 0 { // tshark could not open it
		if want.Libpcap != nil && int(got.report.Packets) != *want.Libpcap {
			off["packets"] = fmt.Sprintf("%d, libpcap read %d", got.report.Packets, *want.Libpcap)
		}
		return off
	}
	counts := map[string]uint64{"packets": got.report.Packets}
	for _, c := range got.totals.Summary() {
		counts[c.Name] = c.Value
	}
	delete(counts, "malformed") // the corpus has no such counter
	for name, value := range counts {
		if expected, known := want.counts[name]; !known || uint64(expected) != value {
			off[name] = fmt.Sprintf("%d, tshark counts %v", value, expected)
		}
	}
	if got.report.Packets > 0 && len(off) == 0 && want.Max < 4e9 && want.Min > 0 {
		if d := max(math.Abs(seconds(got.report.First)-want.Min), math.Abs(seconds(got.report.Last)-want.Max)); d > 2e-6 {
			off["times"] = fmt.Sprintf("%d to %d, tshark reads %f to %f", got.report.First, got.report.Last, want.Min, want.Max)
		}
	}
	return off
}

func seconds(t int64) float64 { return float64(t) / 1e9 }

func readTruth(t *testing.T, path string) truth {
	t.Helper()
	b, err := os.ReadFile(path + ".truth.json")
	if err != nil {
		t.Fatal(err)
	}
	var w truth
	var all map[string]any
	if err := json.Unmarshal(b, &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	w.counts = map[string]float64{}
	for name, value := range all {
		if n, ok := value.(float64); ok {
			w.counts[name] = n
		}
	}
	w.Min, w.Max = w.counts["min_ts"], w.counts["max_ts"]
	return w
}

// readTable returns the rows of a CSV file as maps, gzipped or not; nil when
// there is none.
func readTable(t *testing.T, path string) []map[string]string {
	t.Helper()
	in, err := os.Open(path)
	var text io.Reader = in
	if os.IsNotExist(err) {
		if in, err = os.Open(path + ".gz"); os.IsNotExist(err) {
			return nil
		}
		if err == nil {
			text, err = gzip.NewReader(bufio.NewReader(in))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	rows, err := csv.NewReader(text).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := []map[string]string{}
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, name := range rows[0] {
			m[name] = row[i]
		}
		out = append(out, m)
	}
	return out
}

// flowRow is a flow as the truth writes it, without the times.
func flowRow(r *flow.Record, proto string) string {
	sport, dport := "", ""
	if r.Ports {
		sport, dport = fmt.Sprint(r.SrcPort), fmt.Sprint(r.DstPort)
	}
	return strings.Join([]string{r.Src.String(), sport, r.Dst.String(), dport, proto,
		fmt.Sprint(r.Fwd.Packets), fmt.Sprint(r.Fwd.Bytes), fmt.Sprint(r.Rev.Packets), fmt.Sprint(r.Rev.Bytes)}, ",")
}

// compareFlows wants each flow once, with its times to the microsecond that the
// truth is rounded to.
func compareFlows(got []flow.Record, rows []map[string]string) string {
	type times struct{ first, last float64 }
	want := map[string][]times{}
	for _, row := range rows {
		var fields []string
		for _, name := range strings.Fields("src sport dst dport proto fwd_packets fwd_bytes rev_packets rev_bytes") {
			fields = append(fields, row[name])
		}
		first, _ := strconv.ParseFloat(row["first_ts"], 64)
		last, _ := strconv.ParseFloat(row["last_ts"], 64)
		key := strings.Join(fields, ",")
		want[key] = append(want[key], times{first, last})
	}
	var alone []string
	for i := range got {
		r := &got[i]
		key := flowRow(r, fmt.Sprint(r.Proto))
		if want[key] == nil {
			key = flowRow(r, "?") // tshark tells no protocol of later IPv6 fragments
		}
		at := slices.IndexFunc(want[key], func(w times) bool {
			return math.Abs(w.first-seconds(r.First)) < 2e-6 && math.Abs(w.last-seconds(r.Last)) < 2e-6
		})
		if at < 0 {
			alone = append(alone, fmt.Sprintf("vft alone has %s from %d to %d", flowRow(r, fmt.Sprint(r.Proto)), r.First, r.Last))
			continue
		}
		if want[key] = slices.Delete(want[key], at, at+1); len(want[key]) == 0 {
			delete(want, key)
		}
	}
	for key, times := range want {
		alone = append(alone, fmt.Sprintf("tshark alone has %s at %v", key, times))
	}
	if len(alone) == 0 {
		return ""
	}
	slices.Sort(alone)
	return fmt.Sprintf("%d of %d flows: %s", len(alone), len(rows), strings.Join(alone[:min(len(alone), 6)], "; "))
}

// windowColumns returns the columns of the truth and the counters of vft that
// must equal them.
func windowColumns(t testing.TB) (columns []string, counters []stat.Statistic) {
	for _, pair := range [][2]string{{"packets", "PKTS"}, {"bytes", "BYTES"}, {"ip", "IP_ALL"}, {"tcp", "TCP"}, {"syn_only", "SYN_ONLY"},
		{"synack", "SYNACK"}, {"rst", "RST_ALL"}, {"udp", "UDP_ALL"}, {"icmp", "ICMP"}, {"arp", "ARP"},
		{"unique_src", "NB_UNIQ_SRC_ADDR_ALL"}, {"unique_dst", "NB_UNIQ_DST_ADDR_ALL"}, {"unique_5tuple", "NB_UNIQ_TUPLES"}} {
		chosen, err := stat.Select([]string{pair[1]})
		if err != nil {
			t.Fatal(err)
		}
		columns, counters = append(columns, pair[0]), append(counters, chosen...)
	}
	return columns, counters
}

// compareWindows replays a capture in windows from its first packet on.
func compareWindows(t *testing.T, path string, rows []map[string]string) string {
	t.Helper()
	columns, counters := windowColumns(t)
	byNumber := map[string]map[string]string{}
	for _, row := range rows {
		byNumber[row["window"]] = row
	}
	origin, wrong, number := firstTime(t, path), 0, 0
	first := ""
	replayFile(t, path, origin, func(iv *stat.Interval) {
		row := byNumber[fmt.Sprint(number)]
		delete(byNumber, fmt.Sprint(number))
		for i, s := range stat.AppendSamples(nil, iv, counters) {
			want := "0"
			if row != nil {
				want = row[columns[i]]
			}
			if got := fmt.Sprint(uint64(s.Value)); got != want {
				wrong++
				if first == "" {
					first = fmt.Sprintf("window %d: %s is %s, tshark counts %s", number, columns[i], got, want)
				}
			}
		}
		number++
	})
	if wrong == 0 && len(byNumber) == 0 {
		return ""
	}
	return fmt.Sprintf("%d values wrong, %d windows missing of %d; %s", wrong, len(byNumber), len(rows), first)
}

func firstTime(t *testing.T, path string) int64 {
	t.Helper()
	first := int64(-1)
	file := File{Paths: []string{path}}
	if _, err := file.Run(context.Background(), func(p *Packet) {
		if first < 0 {
			first = p.Time
		}
	}); err != nil {
		t.Fatal(err)
	}
	return first
}
