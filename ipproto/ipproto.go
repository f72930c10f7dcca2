// Package ipproto is the one list of IP protocols: their numbers, and their
// names as records, rules and file names have them. A name is the keyword of
// IANA's registry in lower case (https://www.iana.org/assignments/protocol-numbers),
// which is also what ECS wants in network.transport.
package ipproto

import "strings"

// The numbers of the protocols that vft treats each in its own way.
const (
	HopByHop = 0
	ICMP     = 1
	IGMP     = 2
	IPIP     = 4 // IPv4 in IP
	TCP      = 6
	IGRP     = 9 // "igp" in the registry: any private interior gateway
	UDP      = 17
	IPv6     = 41 // IPv6 in IP
	Routing  = 43
	Fragment = 44
	GRE      = 47
	ESP      = 50
	AH       = 51
	ICMPv6   = 58
	NoNext   = 59
	DstOpts  = 60
	OSPF     = 89
	PIM      = 103
	VRRP     = 112
	SCTP     = 132
	Mobility = 135
	HIP      = 139
	Shim6    = 140
)

// Name returns the name of a protocol; "" for 0, which is an option header of
// IPv6 and what exporters send for "unknown", and for numbers that the registry
// gives no plain keyword. A name is made of small letters, digits and hyphens.
func Name(number uint8) string {
	if int(number) < len(names) {
		return names[number]
	}
	return ""
}

// Number returns the number of a protocol by its name, in letters of any case;
// icmpv6, icmp6 and ospf, which people write, are known too.
func Number(name string) (number uint8, ok bool) {
	switch name = strings.ToLower(name); name {
	case "":
		return 0, false
	case "icmpv6", "icmp6":
		return ICMPv6, true
	case "ospf":
		return OSPF, true
	}
	for n, known := range names {
		if known == name {
			return uint8(n), true
		}
	}
	return 0, false
}

// HasPorts reports whether the name is that of a protocol whose ports vft reads.
func HasPorts(name string) bool { return name == "tcp" || name == "udp" || name == "sctp" }

// Over returns the name that a protocol has over one version of IP: ICMP over
// IPv6 is ICMPv6. Other names stay as they are.
func Over(name string, v4 bool) string {
	if name == names[ICMP] && !v4 {
		return names[ICMPv6]
	}
	return name
}

// names are the keywords by number, those left out that are no plain word.
var names = [...]string{
	1: "icmp", 2: "igmp", 3: "ggp", 4: "ipv4", 5: "st", 6: "tcp", 7: "cbt", 8: "egp", 9: "igp",
	10: "bbn-rcc-mon", 11: "nvp-ii", 12: "pup", 13: "argus", 14: "emcon", 15: "xnet", 16: "chaos", 17: "udp", 18: "mux",
	19: "dcn-meas", 20: "hmp", 21: "prm", 22: "xns-idp", 23: "trunk-1", 24: "trunk-2", 25: "leaf-1", 26: "leaf-2",
	27: "rdp", 28: "irtp", 29: "iso-tp4", 30: "netblt", 31: "mfe-nsp", 32: "merit-inp", 33: "dccp", 34: "3pc", 35: "idpr",
	36: "xtp", 37: "ddp", 38: "idpr-cmtp", 40: "il", 41: "ipv6", 42: "sdrp", 43: "ipv6-route", 44: "ipv6-frag",
	45: "idrp", 46: "rsvp", 47: "gre", 48: "dsr", 49: "bna", 50: "esp", 51: "ah", 52: "i-nlsp", 53: "swipe", 54: "narp",
	55: "min-ipv4", 56: "tlsp", 57: "skip", 58: "ipv6-icmp", 59: "ipv6-nonxt", 60: "ipv6-opts", 62: "cftp",
	64: "sat-expak", 65: "kryptolan", 66: "rvd", 67: "ippc", 69: "sat-mon", 70: "visa", 71: "ipcv", 72: "cpnx", 73: "cphb",
	74: "wsn", 75: "pvp", 76: "br-sat-mon", 77: "sun-nd", 78: "wb-mon", 79: "wb-expak", 80: "iso-ip", 81: "vmtp",
	82: "secure-vmtp", 83: "vines", 84: "iptm", 85: "nsfnet-igp", 86: "dgp", 87: "tcf", 88: "eigrp", 89: "ospfigp",
	90: "sprite-rpc", 91: "larp", 92: "mtp", 94: "ipip", 95: "micp", 96: "scc-sp", 97: "etherip", 98: "encap",
	100: "gmtp", 101: "ifmp", 102: "pnni", 103: "pim", 104: "aris", 105: "scps", 106: "qnx", 108: "ipcomp", 109: "snp",
	110: "compaq-peer", 111: "ipx-in-ip", 112: "vrrp", 113: "pgm", 115: "l2tp", 116: "ddx", 117: "iatp", 118: "stp",
	119: "srp", 120: "uti", 121: "smp", 122: "sm", 123: "ptp", 125: "fire", 126: "crtp", 127: "crudp", 128: "sscopmce",
	129: "iplt", 130: "sps", 131: "pipe", 132: "sctp", 133: "fc", 134: "rsvp-e2e-ignore", 136: "udplite",
	137: "mpls-in-ip", 138: "manet", 139: "hip", 140: "shim6", 141: "wesp", 142: "rohc", 143: "ethernet", 144: "aggfrag",
	145: "nsh", 146: "homa", 147: "bit-emu",
}
