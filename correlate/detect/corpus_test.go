package detect

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// reference returns a directory of reference data.
func reference(t testing.TB, name string) string {
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/ and golden/", err)
		}
		t.Skipf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/ and golden/", err)
	}
	return dir
}

// run is what one capture gave.
type run struct {
	records     []event.Event
	first, last int64
	packets     int
}

// fired returns the records that begin an episode.
func (r *run) fired() (out []event.Event) {
	for _, e := range r.records {
		if e.Threat.State == event.Firing {
			out = append(out, e)
		}
	}
	return out
}

// fromPackets reports whether a detection that looks at packets found it; those
// that look at flows have tests of their own.
func fromPackets(e *event.Event) bool {
	return slices.Contains([]string{"scan", "slow_scan", "flood", "amplification", "discovery", "arp_spoof", "rogue_dhcp", "tcp_injection", "dns_tunnel", "brute_force"}, e.Threat.Sensor)
}

// replay runs a capture through the detections as a shard does.
func replay(t testing.TB, path string, cfg Config) *run {
	t.Helper()
	out := &run{}
	cfg.Emit = func(e event.Event) {
		if fromPackets(&e) {
			out.records = append(out.records, e)
		}
	}
	d := New(cfg)
	table := flow.NewTable(flow.Config{Seed: 1, Emit: d.Flow})
	var p packet.Parsed
	sweep := int64(0)
	file := capture.File{Paths: []string{path}}
	if _, err := file.Run(context.Background(), func(pkt *capture.Packet) {
		p.Decode(pkt.Link, pkt.Data, pkt.Wire)
		if sec := pkt.Time / second; sec > sweep {
			sweep = sec
			table.Advance(pkt.Time)
		}
		if out.packets == 0 {
			out.first, out.last = pkt.Time, pkt.Time
		}
		out.first, out.last = min(out.first, pkt.Time), max(out.last, pkt.Time)
		out.packets++
		d.Packet(&p, table.Packet(&p, pkt.Time), pkt.Time)
	}); err != nil {
		t.Logf("%s: %v", path, err)
	}
	d.Close()
	wellFormed(t, path, out.records)
	return out
}

// wellFormed holds that each episode fires once, first, and is resolved once,
// last, with at most one update in ten seconds between.
func wellFormed(t testing.TB, path string, records []event.Event) {
	t.Helper()
	wrote := map[string]time.Time{}
	for _, e := range records {
		last, live := wrote[e.Threat.Episode]
		switch e.Threat.State {
		case event.Firing:
			if live {
				t.Errorf("%s: %s fires twice", path, e.Message)
			}
		case event.Updated:
			if !live || e.Time.Sub(last) < 10*time.Second {
				t.Errorf("%s: %s is updated out of turn", path, e.Message)
			}
		case event.Resolved:
			if !live {
				t.Errorf("%s: %s is resolved and never fired", path, e.Message)
			}
			delete(wrote, e.Threat.Episode)
			continue
		}
		wrote[e.Threat.Episode] = e.Time
		if _, err := json.Marshal(e); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for id := range wrote {
		t.Errorf("%s: episode %s is never resolved", path, id)
	}
}

func line(e *event.Event) string {
	d := e.Threat.Details
	return fmt.Sprintf("%-16s %-9v %-16s %v/%v ports %v hosts %v %v%v", e.Threat.Type, cmp.Or[any](d["scan"], d["injection"], "-"), cmp.Or(e.Threat.Offender, "many"), d["value"], d["threshold"],
		cmp.Or[any](d["distinct_ports"], 0), d["hosts"], cmp.Or[any](d["domain"], ""), cmp.Or[any](d["tool"], ""))
}

// label is one attack that the corpus tells of.
type label struct {
	File      string   `json:"file"`
	Kind      string   `json:"kind"`
	Attackers []string `json:"attackers"`
	Start     float64  `json:"start"`
	End       float64  `json:"end"`
}

// expected is how each kind of label is reported: the type, and the technique
// where there is one.
var expected = map[string][2]string{
	"tcp_syn_vertical":       {"vertical_scan", "syn"},
	"tcp_connect_vertical":   {"vertical_scan", "connect"},
	"tcp_fin_vertical":       {"vertical_scan", "fin"},
	"tcp_null_vertical":      {"vertical_scan", "null"},
	"tcp_xmas_vertical":      {"vertical_scan", "xmas"},
	"tcp_ack_vertical":       {"vertical_scan", "ack"},
	"udp_vertical":           {"vertical_scan", "udp"},
	"sctp_init_vertical":     {"vertical_scan", "sctp_init"},
	"ip_protocol_scan":       {"vertical_scan", "ip_protocol"},
	"tcp_syn_decoy":          {"vertical_scan", "syn"},
	"tcp_syn_fragmented":     {"vertical_scan", "syn"},
	"service_version":        {"vertical_scan", "syn"},
	"os_detect":              {"vertical_scan", "syn"},
	"tcp_syn_vertical_ipv6":  {"vertical_scan", "syn"},
	"tcp_syn_horizontal":     {"horizontal_scan", "syn"},
	"tcp_syn_block":          {"vertical_scan", "syn"},
	"tcp_syn_slow":           {"vertical_scan", "syn"},
	"tcp_syn_very_slow":      {"vertical_scan", "syn"},
	"tcp_syn_masscan":        {"vertical_scan", "syn"},
	"udp_masscan":            {"horizontal_scan", "udp"},
	"udp_sweep":              {"horizontal_scan", "udp"},
	"tcp_connect_trap_sweep": {"horizontal_scan", "connect"},
	"tcp_syn_flood":          {"syn_flood", "syn"},
	"tcp_syn_flood_spoofed":  {"syn_flood", "syn"},
	"udp_flood":              {"udp_flood", "udp"},
	"icmp_flood":             {"icmp_flood", "icmp"},
	"tcp_ack_flood":          {"tcp_flood", "ack"},
	"tcp_rst_flood":          {"tcp_flood", "rst"},
	"icmp_sweep":             {"host_discovery", "ping"},
	"arp_sweep_nmap":         {"host_discovery", "arp"},
	"arp_scan":               {"host_discovery", "arp"},
	"arp_spoof":              {"arp_spoof", ""},
	"ssh_bruteforce":         {"brute_force", ""},
}

// sources returns the offenders that a label wants named. One capture of ARP
// spoofing holds nothing but replies, so only the MAC of the attacker shows.
func (l *label) sources() []string {
	switch l.Kind {
	case "tcp_syn_flood_spoofed":
		return []string{""}
	case "arp_spoof":
		return []string{"de:00:bf:6a:33:69"}
	case "tcp_syn_decoy":
		return []string{"10.77.0.31", "10.77.0.32", "10.77.0.33", "10.77.0.66"}
	}
	return l.Attackers
}

// Every attack that the corpus tells of is found, named rightly, with its
// source, within five seconds of its end.
func TestLabels(t *testing.T) {
	root := reference(t, "corpus")
	b, err := os.ReadFile(filepath.Join(root, "LABELS.json"))
	if err != nil {
		t.Fatal(err)
	}
	var labels []label
	if err := json.Unmarshal(b, &labels); err != nil {
		t.Fatal(err)
	}
	runs := map[string]*run{}
	for _, l := range labels {
		if l.Kind == "none" {
			continue
		}
		want, known := expected[l.Kind]
		if !known {
			t.Errorf("%s: no expectation for %s", l.File, l.Kind)
			continue
		}
		if runs[l.File] == nil {
			runs[l.File] = replay(t, filepath.Join(root, l.File), Config{})
		}
		for _, source := range l.sources() {
			if e := find(runs[l.File], want, source, &l); e != nil {
				t.Logf("%-36s %+6.1f s %s", l.File, float64(e.Time.UnixMicro())/1e6-l.End, line(e))
				if want[1] == "ack" && want[0] == "vertical_scan" && e.Threat.Details["scan_alternative"] != "window" {
					t.Errorf("%s: an ACK scan that does not say that it may be a window scan", l.File)
				}
			} else {
				t.Errorf("%s: no %s %s by %q", l.File, want[0], want[1], source)
			}
		}
	}
}

func find(r *run, want [2]string, source string, l *label) *event.Event {
	for i := range r.records {
		e := &r.records[i]
		at := float64(e.Time.UnixMicro()) / 1e6
		scan, _ := e.Threat.Details["scan"].(string)
		if e.Threat.State == event.Firing && e.Threat.Type == want[0] && scan == want[1] && e.Threat.Offender == source && at >= l.Start-0.1 && at <= l.End+5 {
			return e
		}
	}
	return nil
}

// truly lists what fires in captures that are said to be normal, and why it may.
var truly = map[string]string{
	"bulk_ndpi_mix.pcap dns_tunnel":          "a dnscat tunnel below skullseclabs.org is among the merged captures",
	"bulk_ndpi_mix.pcap tcp_injection":       "an address translation in software sends other bytes under a sequence number that it used",
	"markofu__gnutella.pcap horizontal_scan": "81 hosts that are mostly absent: the corpus lists the source as fanning out",
}

// Normal captures give at most one alert in ten minutes, sources that fan out
// left aside.
func TestNormal(t *testing.T) {
	seconds, alerts := 0.0, 0
	for _, path := range captures(t, "normal") {
		r := replay(t, path, Config{})
		seconds += min(float64(r.last-r.first)/1e9, 3600) // some hold packets years apart
		for _, e := range r.fired() {
			why := truly[filepath.Base(path)+" "+e.Threat.Type]
			t.Logf("%-36s %s (%s)", filepath.Base(path), line(&e), why)
			if alerts++; why == "" {
				t.Errorf("%s: a false alarm: %s", filepath.Base(path), line(&e))
			}
		}
	}
	t.Logf("%d alerts in %.0f minutes", alerts, seconds/60)
	if float64(alerts) > seconds/600 {
		t.Errorf("%d alerts in %.0f minutes", alerts, seconds/60)
	}
}

func captures(t testing.TB, folder string) (paths []string) {
	all, err := filepath.Glob(filepath.Join(reference(t, "corpus"), folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if slices.Contains([]string{".pcap", ".pcapng", ".cap"}, filepath.Ext(path)) {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		t.Fatalf("no captures in %s", folder)
	}
	return paths
}

// others is what the captures of attacks and scans without a label give, one
// line each: the types that must fire, in order, "" for none.
var others = map[string]string{
	"scan/StratosphereLinuxIPS__test12-icmp-portscan.pcap":                               "host_discovery",
	"scan/bro-simple-scan__testing_pcaps_port_scan.pcap":                                 "vertical_scan",
	"scan/curated-pcaps__masscan_udp_0_1000_20190821.pcap":                               "vertical_scan",
	"scan/maltrail__sensor_tests_corpus_ack_sweep_no_fp.pcap":                            "",
	"scan/maltrail__sensor_tests_corpus_infection_scan.pcap":                             "horizontal_scan",
	"scan/maltrail__sensor_tests_corpus_udp_scan.pcap":                                   "vertical_scan",
	"scan/markofu__NMAP_PCAPS_NMAP_SCAN_ANALYSIS_ACK_SCAN_ACK_SCAN.pcap":                 "vertical_scan",
	"scan/markofu__NMAP_PCAPS_NMAP_SCAN_ANALYSIS_FIN_SCAN_FIN_SCAN.pcap":                 "vertical_scan",
	"scan/markofu__NMAP_PCAPS_NMAP_SCAN_ANALYSIS_IP_PROTOCOL_SCAN_IP_PROTOCOL_SCAN.pcap": "vertical_scan",
	"scan/markofu__NMAP_PCAPS_NMAP_SCAN_ANALYSIS_RPC_SCAN_RPC_SCAN.pcap":                 "vertical_scan",
	"scan/markofu__NMAP_PCAPS_NMAP_SCAN_ANALYSIS_TCP_SYN_SCAN_TCP_SYN_SCAN.pcap":         "vertical_scan",
	"scan/markofu__NMAP_PCAPS_NMAP_SCAN_ANALYSIS_UDP_SCAN_UDP_SCAN.pcap":                 "vertical_scan",
	"scan/markofu__portscan.pcap":                                                        "vertical_scan",
	"scan/markofu__xprobe_pcaps_xprobe_icmp_tcp_scan_xprobe_tcp_scan_filter.pcap":        "vertical_scan",
	"scan/nDPI__synscan.pcap":                                                            "vertical_scan",
	"scan/nDPI__tcp_scan.pcapng":                                                         "vertical_scan",
	"scan/sgr__hs-arpScan.pcap":                                                          "host_discovery",
	"scan/sgr__hs-icmpScan.pcap":                                                         "host_discovery",
	"scan/sgr__hs-tcp_ackPingSweepRand.pcapng":                                           "horizontal_scan",
	"scan/sgr__hs-udpScan.pcap":                                                          "horizontal_scan",
	"scan/unsw-dataset__nmap.pcap":                                                       "vertical_scan",
	"scan/unsw-dataset__traffic_capture.pcap":                                            "vertical_scan",
	"scan/zeek__nmap-vsn.pcap":                                                           "host_discovery horizontal_scan",
	"attack/StratosphereLinuxIPS__test8-malicious.pcap":                                  "host_discovery",
	"attack/malware_traffic_detector__syn_flood.pcap":                                    "syn_flood",
	"attack/packet-captures__amp.TCP.reflection.SYNACK.pcap":                             "tcp_flood",
	"attack/packet-captures__amp.UDP.snmp.src161.pcapng":                                 "amplification",
	"attack/packet-captures__amp.dns.RRSIG.fragmented.pcap":                              "amplification",
	"attack/packet-captures__pkt.TCP.synflood.spoofed.pcap":                              "syn_flood",
	"attack/sgr__na-arpSpoofing.pcap":                                                    "arp_spoof arp_spoof",
	"attack/suricata-verify__firewall_tcp-session-syn-flood-drop-precedence.pcap":        "syn_flood",
	"attack/zeek__ftp_bruteforce.pcap":                                                   "brute_force",
}

func TestOtherAttacks(t *testing.T) {
	for _, folder := range []string{"scan", "attack"} {
		for _, path := range captures(t, folder) {
			r := replay(t, path, Config{})
			var types []string
			for _, e := range r.fired() {
				types = append(types, e.Threat.Type)
				t.Logf("%s/%-40s %s", folder, filepath.Base(path), line(&e))
			}
			want, known := others[folder+"/"+filepath.Base(path)]
			if got := strings.Join(types, " "); known && got != want {
				t.Errorf("%s: %q fired, want %q", path, got, want)
			}
		}
	}
}

// The same packets give the same records, byte for byte.
func TestSameRecords(t *testing.T) {
	path := filepath.Join(reference(t, "corpus"), "attack", "lab_mixed_240s_snap128.pcap")
	write := func(seed byte) string {
		b, err := json.Marshal(replay(t, path, Config{Seed: [32]byte{seed}}).records)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := write(1)
	if len(first) < 1000 || first != write(1) {
		t.Errorf("two replays differ, or hold next to nothing: %d bytes", len(first))
	}
	if first == write(2) {
		t.Error("another seed gives the same ids")
	}
}

// What anybody may send neither stops the detections nor makes them write what
// is not well formed.
func TestMalformed(t *testing.T) {
	for _, folder := range []string{"malformed", "formats"} {
		for _, path := range captures(t, folder) {
			for _, e := range replay(t, path, Config{}).fired() {
				t.Logf("%s: %s", filepath.Base(path), line(&e))
			}
		}
	}
}
