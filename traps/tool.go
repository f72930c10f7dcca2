package traps

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// The names of the programs that a single packet or a first payload gives away.
const (
	ToolMasscan = "masscan"
	ToolMirai   = "mirai"
	ToolNmap    = "nmap"
	ToolZMap    = "zmap"
	ToolZGrab   = "zgrab"
)

// Tool names the scanner that made a SYN, "" when its header gives none away.
//
//   - mirai: the sequence number is the destination address.
//   - zmap (2.x): IP id 54321, window 65535, no options.
//   - masscan: IP id is the low 16 bits of destination ^ port ^ sequence number.
//     One SYN in 65,536 of any other program matches by chance.
//   - nmap -sS: window 1024 and the MSS option alone.
func (s *SYN) Tool() string {
	if s.Dst.Addr().Is4() {
		addr := s.Dst.Addr().As4()
		dst := binary.BigEndian.Uint32(addr[:])
		switch {
		case s.Seq == dst:
			return ToolMirai
		case s.IPID == 54321 && s.Window == 65535 && s.n == 0:
			return ToolZMap
		case s.IPID == uint16(dst^uint32(s.Dst.Port())^s.Seq):
			return ToolMasscan
		}
	}
	if s.Window == 1024 && slices.Equal(s.Options(), []uint8{optionMSS}) {
		return ToolNmap
	}
	return ""
}

// stack is a TCP implementation as its SYN shows it. The IP TTL starts at 64
// or 128 and loses one per hop, so the nearest start above is the original.
type stack struct {
	class   string
	ttl     uint8   // at the start
	options []uint8 // the first kinds, in order
}

// stacks are the common systems with their default settings; the kinds are
// 2 MSS, 3 window scale, 4 SACK permitted, 8 timestamps, 1 and 0 padding.
var stacks = [...]stack{
	{"linux", 64, []uint8{2, 4, 8, 1, 3}},
	{"linux", 64, []uint8{2, 1, 1, 4, 1, 3}}, // timestamps off
	{"macos", 64, []uint8{2, 1, 3, 1, 1, 8, 4, 0, 0}},
	{"freebsd", 64, []uint8{2, 1, 3, 4, 8}},
	{"openbsd", 64, []uint8{2, 1, 1, 4, 1, 3, 1, 1, 8}},
	{"windows", 128, []uint8{2, 1, 3, 1, 1, 4}},
	{"windows", 128, []uint8{2, 1, 3, 1, 1, 8, 1, 1, 4}}, // timestamps on
	{"windows", 128, []uint8{2, 1, 1, 4}},                // XP, 2003
}

// Class names the kind of network stack that made a SYN, in the way of p0f:
// "linux", "windows", "macos" (also iOS), "freebsd", "openbsd", "crafted" (by
// a program that writes its own packets), or "" when it is none of these.
func (s *SYN) Class() string {
	for _, known := range stacks {
		if originalTTL(s.TTL) == known.ttl && hasPrefix(s.Options(), known.options) {
			return known.class
		}
	}
	if !s.HasScale && s.n <= 1 && !s.DF {
		return "crafted"
	}
	return ""
}

func originalTTL(ttl uint8) uint8 {
	switch {
	case ttl <= 64:
		return 64
	case ttl <= 128:
		return 128
	}
	return 255
}

func hasPrefix(kinds, prefix []uint8) bool {
	return len(kinds) >= len(prefix) && slices.Equal(kinds[:len(prefix)], prefix)
}

// payloadSign is a mark that a program leaves in what it sends first.
type payloadSign struct {
	tool  string
	mark  string
	start bool // the mark stands at the start, else anywhere
}

// payloadSigns go from the surest to the most general.
var payloadSigns = [...]payloadSign{
	{ToolZGrab, "SSH-2.0-ZGrab", true},     // zgrab2's ssh module
	{ToolNmap, "SSH-2.0-Nmap", true},       // ssh scripts
	{"libssh", "SSH-2.0-libssh", true},     // a library: password guessers and bots
	{"paramiko", "SSH-2.0-paramiko", true}, // Python programs
	{"go-ssh", "SSH-2.0-Go", true},         // golang.org/x/crypto/ssh
	{"jsch", "SSH-2.0-JSCH", true},         // Java programs
	{"putty", "SSH-2.0-PuTTY", true},
	{"openssh", "SSH-2.0-OpenSSH", true},
	{ToolNmap, "/nice%20ports%2C/Tri%6Eity.txt%2ebak", false},                                       // probe FourOhFourRequest
	{ToolNmap, "/nice ports,/Trinity.txt.bak", false},                                               // the same, as some SIP probes spell it
	{ToolNmap, "Nmap Scripting Engine", false},                                                      // default user agent of its scripts
	{ToolNmap, "OPTIONS / RTSP/1.0\r\n\r\n", true},                                                  // probe RTSPRequest
	{ToolNmap, "OPTIONS / HTTP/1.0\r\n\r\n", true},                                                  // probe HTTPOptions
	{ToolNmap, "google.com\x00PGET / HTTP/1.0", false},                                              // probe Socks5
	{ToolNmap, "?G\xd7\xf7\xba,\xee\xea\xb2`~\xf3", false},                                          // the random of probe SSLSessionReq
	{ToolNmap, "OPTIONS sip:nm SIP/2.0", true},                                                      // probe SIPOptions
	{ToolNmap, "mstshash=nmap", false},                                                              // probe TerminalServerCookie
	{ToolNmap, "random1random2random3random4", false},                                               // probes TLSSessionReq, SSLv23SessionReq
	{ToolNmap, "\x00\x1e\x00\x06\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07version\x04bind", true}, // probe DNSVersionBindReqTCP
	{ToolMasscan, "masscan/", false},                                                                // user agent of --banners
	{ToolZGrab, "zgrab/", false},                                                                    // "Mozilla/5.0 zgrab/0.x"
	{"nuclei", "Nuclei - Open-source", false},                                                       // user agents from here on
	{"nikto", "(Nikto/", false},
	{"sqlmap", "sqlmap/", false},
	{"gobuster", "gobuster/", false},
	{"censys", "CensysInspect/", false},
	{"expanse", "Expanse, a Palo Alto", false},
	{"go-http", "Go-http-client/", false}, // net/http's default
	{"python-requests", "python-requests/", false},
	{"curl", "User-Agent: curl/", false},
	{"wget", "User-Agent: Wget/", false},
}

// PayloadTool names the program that sent payload first, "" when nothing in it
// gives one away. A sender can lie: it is a hint.
func PayloadTool(payload []byte) string {
	for _, sign := range payloadSigns {
		at := bytes.Index(payload, []byte(sign.mark))
		if at == 0 || at > 0 && !sign.start {
			return sign.tool
		}
	}
	return ""
}
