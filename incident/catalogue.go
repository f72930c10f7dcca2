package incident

import (
	"cmp"
	"strings"

	"vft/event"
)

// kinds are the titles of the types of findings and their techniques of MITRE ATT&CK
// (attack.mitre.org, Enterprise), "" where none is obvious.
var kinds = map[string]struct{ title, technique string }{
	"portscan":        {"many small probes", "T1046"},
	"winscan":         {"probes for Windows services", "T1046"},
	"spam":            {"much mail", "T1566"},
	"horizontal_scan": {"scan of many hosts", "T1046"},
	"vertical_scan":   {"port scan of one host", "T1046"},
	"slow_scan":       {"slow scan", "T1046"},
	"host_discovery":  {"search for hosts", "T1018"},
	"syn_flood":       {"SYN flood", "T1499.001"},
	"udp_flood":       {"UDP flood", "T1498.001"},
	"icmp_flood":      {"ICMP flood", "T1498.001"},
	"tcp_flood":       {"TCP flood", "T1499.001"},
	"http_flood":      {"HTTP flood", "T1499.002"},
	"slow_http":       {"slow HTTP attack", "T1499.002"},
	"web_scan":        {"scan of a web server", "T1595.003"},
	"amplification":   {"amplified reflection", "T1498.002"},
	"reflector":       {"own host abused as a reflector", "T1498.002"},
	"transfer":        {"unusual transfer", ""},
	"exfiltration":    {"exfiltration", "T1048"},
	"beacon":          {"beacon", "T1071"},
	"long_connection": {"long connection", "T1071"},
	"dns_tunnel":      {"tunnel through DNS", "T1071.004"},
	"icmp_tunnel":     {"tunnel through ICMP", "T1095"},
	"dga":             {"computed names", "T1568.002"},
	"dns_spoof":       {"forged DNS answer", "T1557"},
	"brute_force":     {"guessed passwords", "T1110"},
	"new_peer":        {"first use of an administrative service", "T1021"},
	"arp_spoof":       {"ARP spoofing", "T1557.002"},
	"rogue_dhcp":      {"rogue DHCP server", "T1557.003"},
	"dhcp_starvation": {"DHCP starvation", "T1499"},
	"rogue_ra":        {"rogue IPv6 router", "T1557"},
	"mac_flood":       {"MAC flood", "T1499"},
	"name_poisoning":  {"poisoned names", "T1557.001"},
	"icmp_redirect":   {"ICMP redirect", "T1557"},
	"tcp_injection":   {"TCP injection", "T1659"},
	"capture_loss":    {"packets are lost", ""},
	"outage":          {"outage", ""},
	"background":      {"background noise", ""},
	"blind":           {"vft is partly blind", "T1562"},
	"overflow":        {"too many to tell of each", ""},
	statistic:         {"unusual statistic", ""},
}

func titleOf(f *event.Finding) string {
	return cmp.Or(f.Title, kinds[f.Type].title, strings.ReplaceAll(f.Type, "_", " "))
}

func techniqueOf(f *event.Finding) string { return cmp.Or(f.Technique, kinds[f.Type].technique) }
