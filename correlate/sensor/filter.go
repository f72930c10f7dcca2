package sensor

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/ipproto"
	"vft/yamlfile"
)

type record = *flow.Record

// filter reports whether a sensor looks at a flow. All filters read the
// initiator's direction: the key of the record and its Fwd side.
type filter func(record) bool

// filterWords are the filters, for those who look for one.
const filterWords = "none, all, any, not, dst_port, dst_ports, dst_port_range, src_port, src_ports, src_port_range, src_in, dst_in, " +
	"protocol, tcp_flags, tcp_flags_all, tcp_flags_any, bits_per_packet_lower_than"

// filter reads a mapping of filters, all of which must pass a flow, a list of
// such mappings, or the word none, which passes every flow.
func (r *reader) filter(node ast.Node, where string) (filter, string, error) {
	if text, _, err := r.scalar(node, where); err == nil {
		if text == "none" || nothing(node) {
			return every(nil), "none", nil
		}
		return nil, "", failure(r.at(node, where), "%q is no filter; write none, or a mapping of %s", text, filterWords)
	}
	filters, texts, err := r.filters(node, where)
	return every(filters), "all(" + texts + ")", err
}

// filters reads the filters of a mapping, or of a list of mappings.
func (r *reader) filters(node ast.Node, where string) (list []filter, texts string, err error) {
	if list, ok := node.(*ast.SequenceNode); ok {
		return r.listed(list.Values, where)
	}
	all, err := r.entries(node, where)
	if err != nil {
		return nil, "", err
	}
	var b strings.Builder
	for _, e := range all {
		f, text, err := r.word(e)
		if err != nil {
			return nil, "", err
		}
		list = append(list, f)
		b.WriteString(text + " ")
	}
	return list, b.String(), nil
}

// listed reads a list; each of its members is one filter.
func (r *reader) listed(nodes []ast.Node, where string) (list []filter, texts string, err error) {
	var b strings.Builder
	for _, node := range nodes {
		f, text, err := r.filter(node, where)
		if err != nil {
			return nil, "", err
		}
		list = append(list, f)
		b.WriteString(text + " ")
	}
	return list, b.String(), nil
}

// word reads one filter. The text that comes with it is equal for equal filters.
func (r *reader) word(e entry) (filter, string, error) {
	switch e.key {
	case "none":
		return r.noneOf(e)
	case "all":
		return r.allOf(e)
	case "any":
		return r.anyOf(e)
	case "not":
		return r.not(e)
	case "dst_port", "dst_ports", "dst_port_range":
		return r.dstPorts(e)
	case "src_port", "src_ports", "src_port_range":
		return r.srcPorts(e)
	case "src_in":
		return r.srcIn(e)
	case "dst_in":
		return r.dstIn(e)
	case "protocol":
		return r.protocol(e)
	case "tcp_flags", "tcp_flags_all", "tcp_flags_any":
		return r.flags(e)
	case "bits_per_packet_lower_than":
		return r.bitsPerPacket(e)
	}
	return nil, "", failure(e.where, "%s is no filter; there are %s", e.key, filterWords)
}

// every passes what all of the filters pass: of none, everything.
func every(filters []filter) filter {
	switch len(filters) {
	case 0:
		return func(record) bool { return true }
	case 1:
		return filters[0]
	}
	return func(f record) bool {
		for _, pass := range filters {
			if !pass(f) {
				return false
			}
		}
		return true
	}
}

// some passes what one of the filters passes: of none, nothing.
func some(filters []filter) filter {
	return func(f record) bool {
		for _, pass := range filters {
			if pass(f) {
				return true
			}
		}
		return false
	}
}

func negate(pass filter) filter { return func(f record) bool { return !pass(f) } }

func (r *reader) allOf(e entry) (filter, string, error) {
	list, texts, err := r.filters(e.value, e.where)
	return every(list), "all(" + texts + ")", err
}

func (r *reader) anyOf(e entry) (filter, string, error) {
	list, texts, err := r.filters(e.value, e.where)
	return some(list), "any(" + texts + ")", err
}

func (r *reader) noneOf(e entry) (filter, string, error) {
	list, texts, err := r.filters(e.value, e.where)
	return negate(some(list)), "none(" + texts + ")", err
}

func (r *reader) not(e entry) (filter, string, error) {
	if nothing(e.value) {
		return nil, "", failure(e.where, "needs a filter, as not: {dst_port: 80}")
	}
	f, text, err := r.filter(e.value, e.where)
	if err != nil {
		return nil, "", err
	}
	return negate(f), "not(" + text + ")", nil
}

// scalars returns the values of a list, or the one that is none.
func (r *reader) scalars(e entry) (texts, places []string, err error) {
	for _, node := range yamlfile.Items(e.value) {
		text, place, err := r.scalar(node, e.where)
		if err != nil {
			return nil, nil, err
		}
		texts, places = append(texts, text), append(places, place)
	}
	return texts, places, nil
}

func (r *reader) ports(e entry) (*portSet, string, error) {
	texts, places, err := r.scalars(e)
	if err != nil {
		return nil, "", err
	}
	if len(texts) == 0 {
		return nil, "", failure(e.where, "%s needs a port from 0 to 65535", e.key)
	}
	var set portSet
	if strings.HasSuffix(e.key, "_range") && len(texts) == 2 {
		texts, places = []string{texts[0] + "-" + texts[1]}, places[:1]
	}
	for i, text := range texts {
		first, last, isRange := strings.Cut(text, "-")
		if !isRange {
			last = first
		}
		low, err := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
		high, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
		if err != nil || err2 != nil || low > high {
			return nil, "", failure(places[i], "%q is not a port from 0 to 65535 or a range of them, as 6000-6063", text)
		}
		set.add(uint16(low), uint16(high))
	}
	if strings.HasSuffix(e.key, "_port") && len(texts) > 1 {
		return nil, "", failure(e.where, "%s takes one port; %ss takes a list", e.key, e.key)
	}
	return &set, fmt.Sprintf("%s%v", strings.SplitAfter(e.key, "_port")[0], texts), nil
}

func (r *reader) dstPorts(e entry) (filter, string, error) {
	set, text, err := r.ports(e)
	return func(f record) bool { return f.Ports && set.has(f.DstPort) }, text, err
}

func (r *reader) srcPorts(e entry) (filter, string, error) {
	set, text, err := r.ports(e)
	return func(f record) bool { return f.Ports && set.has(f.SrcPort) }, text, err
}

func (r *reader) networks(e entry) (addrSet, string, error) {
	texts, places, err := r.scalars(e)
	if err != nil {
		return nil, "", err
	}
	var prefixes []netip.Prefix
	for i, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Zone() != "" {
				return nil, "", failure(places[i], "%q is not an address or a network, as 10.0.0.0/8", text)
			}
			prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		if prefix.Addr().Is4In6() {
			return nil, "", failure(places[i], "%q is a 4-in-6 network; write it as IPv4", text)
		}
		prefixes = append(prefixes, prefix)
	}
	if len(prefixes) == 0 {
		return nil, "", failure(e.where, "%s needs a network, as 10.0.0.0/8", e.key)
	}
	return newAddrSet(prefixes), fmt.Sprintf("%s%v", e.key, prefixes), nil
}

func (r *reader) srcIn(e entry) (filter, string, error) {
	set, text, err := r.networks(e)
	return func(f record) bool { return set.has(f.Src) }, text, err
}

func (r *reader) dstIn(e entry) (filter, string, error) {
	set, text, err := r.networks(e)
	return func(f record) bool { return set.has(f.Dst) }, text, err
}

func (r *reader) protocol(e entry) (filter, string, error) {
	texts, places, err := r.scalars(e)
	if err != nil {
		return nil, "", err
	}
	var set [256]bool
	var numbers []uint8
	for i, text := range texts {
		number, named := ipproto.Number(text)
		if !named {
			n, err := strconv.ParseUint(text, 10, 8)
			if err != nil {
				return nil, "", failure(places[i], "%q is not a protocol: tcp, udp, icmp, ipv6-icmp, sctp, gre, esp, another keyword of IANA or a number to 255", text)
			}
			number = uint8(n)
		}
		set[number] = true
		numbers = append(numbers, number)
	}
	if len(numbers) == 0 {
		return nil, "", failure(e.where, "protocol needs a name or a number, as tcp")
	}
	return func(f record) bool { return set[f.Proto] }, fmt.Sprintf("protocol%v", numbers), nil
}

var flagNames = map[string]packet.Flags{"fin": packet.FIN, "syn": packet.SYN, "rst": packet.RST, "psh": packet.PSH, "ack": packet.ACK, "urg": packet.URG, "ece": packet.ECE, "cwr": packet.CWR}

// parseFlags reads a number or names: 6, 0x06, syn+rst.
func parseFlags(text string) (flags packet.Flags, ok bool) {
	if n, err := strconv.ParseUint(text, 0, 8); err == nil {
		return packet.Flags(n), true
	}
	for _, name := range strings.Split(strings.ToLower(text), "+") {
		flag, known := flagNames[strings.TrimSpace(name)]
		if !known {
			return 0, false
		}
		flags |= flag
	}
	return flags, true
}

// flags compares the flags that the initiator sent. Flows that are not TCP have
// none.
func (r *reader) flags(e entry) (filter, string, error) {
	text, place, err := r.scalar(e.value, e.where)
	if err != nil {
		return nil, "", err
	}
	want, ok := parseFlags(text)
	if !ok {
		return nil, "", failure(place, "%q is not a set of TCP flags: a number to 255, or names as syn+rst of fin, syn, rst, psh, ack, urg, ece, cwr", text)
	}
	same := fmt.Sprintf("%s(%d)", e.key, want)
	switch e.key {
	case "tcp_flags_all":
		return func(f record) bool { return f.Proto == ipproto.TCP && f.Fwd.Flags&want == want }, same, nil
	case "tcp_flags_any":
		return func(f record) bool { return f.Proto == ipproto.TCP && f.Fwd.Flags&want != 0 }, same, nil
	}
	return func(f record) bool { return f.Proto == ipproto.TCP && f.Fwd.Flags == want }, same, nil
}

// bitsPerPacket passes flows with at most so many bits a packet, on the average,
// from the IP header on. A flow without packets has no average.
func (r *reader) bitsPerPacket(e entry) (filter, string, error) {
	text, place, err := r.scalar(e.value, e.where)
	if err != nil {
		return nil, "", err
	}
	most, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil, "", failure(place, "%q is not a whole number of bits, as 512", text)
	}
	return func(f record) bool {
		return f.Fwd.Packets > 0 && bitsWithin(f.NetworkBytes(&f.Fwd), f.Fwd.Packets, most)
	}, fmt.Sprintf("bits(%d)", most), nil
}

// bitsWithin reports whether 8*bytes <= most*packets, for numbers of any size.
func bitsWithin(bytes, packets, most uint64) bool {
	bitsHigh, bitsLow := bits.Mul64(bytes, 8)
	mostHigh, mostLow := bits.Mul64(packets, most)
	return bitsHigh < mostHigh || bitsHigh == mostHigh && bitsLow <= mostLow
}
