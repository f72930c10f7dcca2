package detect

import (
	"time"

	"vft/capture/packet"
	"vft/event"
)

// technique is how a port was probed.
type technique uint8

const (
	synProbe technique = iota
	finProbe
	nullProbe
	xmasProbe
	ackProbe
	maimonProbe
	udpProbe
	sctpInit
	ipProtocol
	pingProbe
	arpProbe
)

// tool is the program whose mark a SYN carries.
type tool uint8

const (
	noTool tool = iota
	nmap
	masscan
	zmap
	mirai
)

var toolNames = [...]string{"", "nmap", "masscan", "zmap", "mirai"}

// mark reads what a SYN tells of the program that made it.
func (c *contact) mark(p *packet.Parsed) {
	if p.TransOff+20 > len(p.Data) || !p.HasFlags {
		c.fragmented = p.Fragment
		c.plain = true
		return
	}
	header := p.Data[p.TransOff:]
	size := int(header[12]>>4) * 4
	c.plain = size < 32
	c.fragmented = p.Fragment
	switch {
	case size == 24 && len(header) >= 24 && header[20] == 2 && p.Window&1023 == 0 && p.Window > 0 && p.Window <= 4096:
		c.by = nmap // nmap -sS: one of four windows, a segment size and nothing more
	case p.ID == 54321 && p.Window == 65535 && p.Network == packet.IPv4:
		c.by = zmap
	case size <= 24 && p.Network == packet.IPv4 && p.ID == (p.Dst.V4()^uint32(p.DstPort)^p.Seq)&0xffff && p.ID != 0:
		c.by = masscan
	case size == 20 && p.Network == packet.IPv4 && p.Seq == p.Dst.V4():
		c.by = mirai
	}
}

// scanName is the name of a technique in the words of nmap. An ACK scan (nmap -sA) and a
// window scan (-sW) send the same packets, ACK segments of 40 bytes with a window of
// 1024, and get the same RST: they differ in how nmap reads the window of the answer.
// Both are called ack, and finding says that it may be the other.
func scanName(c *contact, pr *pair) string {
	switch c.how {
	case synProbe:
		if pr.half > 0 || pr.connects == 0 && c.plain {
			return "syn"
		}
		return "connect"
	case finProbe:
		return "fin"
	case nullProbe:
		return "null"
	case xmasProbe:
		return "xmas"
	case ackProbe:
		return "ack"
	case maimonProbe:
		return "maimon"
	case udpProbe:
		return "udp"
	case sctpInit:
		return "sctp_init"
	case ipProtocol:
		return "ip_protocol"
	case pingProbe:
		return "ping"
	}
	return "arp"
}

func transportName(how technique) string {
	switch how {
	case udpProbe:
		return "udp"
	case sctpInit:
		return "sctp"
	case pingProbe:
		return "icmp"
	case ipProtocol, arpProbe:
		return ""
	}
	return "tcp"
}

func (s *scans) finding(kind string, c *contact, pr *pair, value, threshold float64, window time.Duration) *finding {
	f := &finding{kind: kind, sensor: "scan", offender: c.src, scan: scanName(c, pr), transport: transportName(c.how), target: c.dst, port: c.port,
		hasPort: c.how != pingProbe && c.how != arpProbe, value: value, threshold: threshold, window: window, memory: scanQuiet}
	if pr.half > 0 || pr.connects > 0 { // it gets the answers
		f.evidence = event.E1
	}
	if c.by != noTool {
		f.more = append(f.more, detail{"tool", toolNames[c.by]})
	}
	if c.how == ackProbe {
		f.more = append(f.more, detail{"scan_alternative", "window"})
	}
	if c.fragmented {
		f.more = append(f.more, detail{"fragmented", true})
	}
	return f
}
