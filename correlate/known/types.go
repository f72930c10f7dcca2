package known

import "slices"

// types are all types of findings that a person may name in ignore and --off:
// those of packets and flows, of statistics and transfers, and the fleet rules.
var types = []string{
	"amplification", "anomaly", "arp_spoof", "beacon", "brute_force", "capture_loss", "dga", "dhcp_starvation", "dns_spoof", "dns_tunnel", "exfiltration", "fragment_flood",
	"host-scan", "host_discovery", "horizontal_scan", "http_flood", "icmp_flood", "icmp_redirect", "icmp_tunnel", "long_connection", "mac_flood", "name_poisoning", "new_peer",
	"outage", "port-campaign", "portscan", "probe", "reflector", "rogue_dhcp", "rogue_ra", "same-client", "same-port", "same-source", "sensor-lost", "slow-scan", "slow_http", "slow_scan",
	"spam", "statistic", "sweep", "syn_flood", "tcp_flood", "tcp_injection", "touch", "transfer", "trap_hit", "udp_flood", "vertical_scan", "victim", "web_scan", "winscan",
}

// Types returns all types of findings, sorted.
func Types() []string {
	all := slices.Clone(types)
	slices.Sort(all)
	return all
}

// IsType reports whether name is a type of finding of vft itself. Sensors of a
// user have types of their own.
func IsType(name string) bool { return slices.Contains(types, name) }
