package filter

import "vft/ipproto"

// proto is a protocol qualifier.
type proto uint8

const (
	noProto proto = iota
	link
	ip
	arp
	rarp
	ip6
	tcp
	udp
	sctp
	icmp
	igmp
	igrp
	pim
	vrrp
	carp
	icmp6
	ah
	esp
	stp
)

// protoWords are the protocols that an expression can name.
var protoWords = map[string]proto{
	"ether": link, "link": link, "ip": ip, "arp": arp, "rarp": rarp, "ip6": ip6, "tcp": tcp, "udp": udp,
	"sctp": sctp, "icmp": icmp, "igmp": igmp, "igrp": igrp, "pim": pim, "vrrp": vrrp, "carp": carp,
	"icmp6": icmp6, "ah": ah, "esp": esp, "stp": stp,
}

// transport is the IP protocol number of a protocol, and whether IPv4 and IPv6
// are looked at for it.
type transport struct {
	number uint32
	v4, v6 bool
}

var transports = map[proto]transport{
	tcp: {ipproto.TCP, true, true}, udp: {ipproto.UDP, true, true}, sctp: {ipproto.SCTP, true, true},
	icmp: {ipproto.ICMP, true, false}, igmp: {ipproto.IGMP, true, false}, igrp: {ipproto.IGRP, true, false},
	pim: {ipproto.PIM, true, true}, vrrp: {ipproto.VRRP, true, false}, carp: {ipproto.VRRP, true, false},
	icmp6: {ipproto.ICMPv6, false, true}, ah: {ipproto.AH, true, true}, esp: {ipproto.ESP, true, true},
}

// etherTypes are the names that "ether proto \name" knows.
var etherTypes = map[string]uint32{"ip": etherIP, "ip6": etherIP6, "arp": etherARP, "rarp": etherRARP}

// keywords are the words of the language beside numbers.
var keywords = func() map[string]bool {
	words := map[string]bool{}
	for word := range protoWords {
		words[word] = true
	}
	for _, word := range []string{"and", "or", "src", "dst", "host", "net", "mask", "port", "portrange", "proto",
		"less", "greater", "broadcast", "multicast", "len", "length", "vlan", "mpls", "pppoed", "pppoes"} {
		words[word] = true
	}
	return words
}()

// foreign are the words of pcap-filter(7) that this language does not have.
var foreign = setOf("gateway", "protochain", "byte", "inbound", "outbound", "ifindex", "geneve", "vxlan", "batadv",
	"ppp", "slip", "fddi", "tr", "wlan", "radio", "llc", "type", "subtype", "direction", "dir", "addr1", "addr2", "addr3",
	"addr4", "address1", "address2", "address3", "address4", "ra", "ta", "atalk", "aarp", "decnet", "lat", "sca", "moprc",
	"mopdl", "iso", "esis", "es-is", "isis", "is-is", "l1", "l2", "iih", "lsp", "snp", "csnp", "psnp", "clnp", "ipx",
	"netbeui", "lane", "metac", "bcc", "oam", "oamf4", "oamf4ec", "oamf4sc", "sc", "ilmic", "vpi", "vci", "connectmsg",
	"metaconnect", "on", "ifname", "rset", "ruleset", "rnr", "rulenum", "srnr", "subrulenum", "reason", "action", "fisu",
	"lssu", "lsu", "msu", "hfisu", "hlssu", "hmsu", "sio", "opc", "dpc", "sls", "hsio", "hopc", "hdpc", "hsls")

func setOf(words ...string) map[string]bool {
	set := make(map[string]bool, len(words))
	for _, word := range words {
		set[word] = true
	}
	return set
}

// constants are the numbers that have a name.
var constants = map[string]uint32{
	"tcpflags": 13, "tcp-fin": 0x01, "tcp-syn": 0x02, "tcp-rst": 0x04, "tcp-push": 0x08, "tcp-ack": 0x10, "tcp-urg": 0x20,
	"tcp-ece": 0x40, "tcp-cwr": 0x80,

	"icmptype": 0, "icmpcode": 1, "icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5,
	"icmp-echo": 8, "icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12,
	"icmp-tstamp": 13, "icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16, "icmp-maskreq": 17,
	"icmp-maskreply": 18,

	"icmp6type": 0, "icmp6code": 1, "icmp6-destinationunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3,
	"icmp6-parameterproblem": 4, "icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-multicastlistenerquery": 130,
	"icmp6-multicastlistenerreportv1": 131, "icmp6-multicastlistenerdone": 132, "icmp6-routersolicit": 133,
	"icmp6-routeradvert": 134, "icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137,
	"icmp6-routerrenum": 138, "icmp6-nodeinformationquery": 139, "icmp6-nodeinformationresponse": 140,
	"icmp6-ineighbordiscoverysolicit": 141, "icmp6-ineighbordiscoveryadvert": 142, "icmp6-multicastlistenerreportv2": 143,
	"icmp6-homeagentdiscoveryrequest": 144, "icmp6-homeagentdiscoveryreply": 145, "icmp6-mobileprefixsolicit": 146,
	"icmp6-mobileprefixadvert": 147, "icmp6-certpathsolicit": 148, "icmp6-certpathadvert": 149,
	"icmp6-multicastrouteradvert": 151, "icmp6-multicastroutersolicit": 152, "icmp6-multicastrouterterm": 153,
}

// services are the port names that are known well enough to be told the number.
var services = map[string]int{
	"ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "dns": 53, "bootps": 67, "bootpc": 68, "tftp": 69,
	"http": 80, "pop3": 110, "ntp": 123, "imap": 143, "snmp": 161, "ldap": 389, "https": 443, "syslog": 514, "ldaps": 636,
	"imaps": 993, "pop3s": 995, "mysql": 3306, "rdp": 3389, "postgresql": 5432, "redis": 6379,
}
