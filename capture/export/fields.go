package export

import "vft/capture/flow"

// slot is a place for one number of a record while it is decoded. Templates are
// compiled to steps that each copy a field into its slot.
type slot uint8

const (
	src4 slot = iota
	dst4
	src6High // of 128 bits
	src6Low
	dst6High
	dst6Low
	station4 // the wireless client that a record is about
	direction
	proto
	srcPort
	dstPort
	icmpTypeCode
	icmpType
	icmpCode
	tcpFlags
	ttl
	inBytes
	inPackets
	outBytes
	outPackets
	initiatorBytes
	initiatorPackets
	responderBytes
	responderPackets
	layer2Bytes
	reverseBytes
	reversePackets
	reverseFlags
	reverseTTL
	firstTime
	lastTime
	reverseFirst
	reverseLast
	duration
	bootTime
	endReason
	firewallEvent
	natEvent
	interval         // one of so many packets
	randomOneOf      // the same, of random sampling
	taken            // packets taken in a row,
	space            // and then left out
	sampleSize       // of
	population       // so many
	probability      // float64
	selector         // id of a sampler
	forTemplate      // scope of an option
	ofInterface      // scope of an option, or where a flow came in
	packetFrame      // a piece of a packet, from the link header on
	packetNet        // a piece of a packet, from the IP header on
	frameLength      // of the packet on the wire
	slots            // how many there are
	unused      slot = 0xff
)

// maxSlots is slots rounded up to a power of two, so that an index can be masked.
const maxSlots = 64

// unit says what the number of a time means.
type unit uint8

const (
	noTime      unit = iota
	uptimeUnit       // milliseconds since the exporter started
	seconds          // since 1970
	millis           // likewise
	ntp              // RFC 7011 section 6.1.9: seconds since 1900, and 2^-32 of them
	microBefore      // microseconds before the datagram was sent
	micros           // a duration
)

// meaning is what a field is for.
type meaning struct {
	slot slot
	rank uint8 // of several fields for one slot the lowest is taken
	unit unit
}

// meaningOf returns what an information element of the IANA registry is for
// (NetFlow 9 has the same numbers), and false for those that no record needs.
func meaningOf(id uint16) (meaning, bool) {
	for _, table := range [...][]element{flowElements, timeElements, samplingElements} {
		for _, e := range table {
			if e.id == id {
				return e.meaning, true
			}
		}
	}
	return meaning{slot: unused}, false
}

// reverseOf returns what an element is for in the other direction of a flow
// (RFC 5103), and false for those that no record needs.
func reverseOf(id uint16) (meaning, bool) {
	m, _ := meaningOf(id)
	switch m.slot {
	case inBytes:
		m.slot = reverseBytes
	case inPackets:
		m.slot = reversePackets
	case tcpFlags:
		m.slot = reverseFlags
	case ttl:
		m.slot = reverseTTL
	case firstTime:
		m.slot = reverseFirst
	case lastTime:
		m.slot = reverseLast
	default:
		return m, false
	}
	return m, true
}

// scopeOf returns what a scope of NetFlow 9 is for: they have numbers of their
// own (RFC 3954 section 6.1).
func scopeOf(id uint16) (meaning, bool) {
	switch id {
	case 2:
		return meaning{slot: ofInterface}, true
	case 5:
		return meaning{slot: forTemplate}, true
	}
	return meaning{slot: unused}, false
}

type element struct {
	id uint16
	meaning
}

// The elements, by https://www.iana.org/assignments/ipfix.
var flowElements = []element{
	{1, meaning{slot: inBytes}},
	{85, meaning{slot: inBytes, rank: 1}}, // octetTotalCount
	{2, meaning{slot: inPackets}},
	{86, meaning{slot: inPackets, rank: 1}}, // packetTotalCount
	{4, meaning{slot: proto}},
	{193, meaning{slot: proto, rank: 1}}, // nextHeaderIPv6
	{6, meaning{slot: tcpFlags}},
	{7, meaning{slot: srcPort}},
	{180, meaning{slot: srcPort, rank: 1}}, // udpSourcePort
	{182, meaning{slot: srcPort, rank: 2}}, // tcpSourcePort
	{8, meaning{slot: src4}},
	{10, meaning{slot: ofInterface}}, // ingressInterface
	{11, meaning{slot: dstPort}},
	{181, meaning{slot: dstPort, rank: 1}}, // udpDestinationPort
	{183, meaning{slot: dstPort, rank: 2}}, // tcpDestinationPort
	{12, meaning{slot: dst4}},
	{32, meaning{slot: icmpTypeCode}},
	{139, meaning{slot: icmpTypeCode, rank: 1}}, // of ICMPv6
	{176, meaning{slot: icmpType}},
	{178, meaning{slot: icmpType, rank: 1}}, // of ICMPv6
	{177, meaning{slot: icmpCode}},
	{179, meaning{slot: icmpCode, rank: 1}}, // of ICMPv6
	{23, meaning{slot: outBytes}},
	{171, meaning{slot: outBytes, rank: 1}}, // postOctetTotalCount
	{24, meaning{slot: outPackets}},
	{172, meaning{slot: outPackets, rank: 1}}, // postPacketTotalCount
	{27, meaning{slot: src6High}},
	{28, meaning{slot: dst6High}},
	{192, meaning{slot: ttl}},
	{52, meaning{slot: ttl, rank: 1}}, // minimumTTL
	{61, meaning{slot: direction}},
	{136, meaning{slot: endReason}},
	{145, meaning{slot: forTemplate}},
	{230, meaning{slot: natEvent}},
	{231, meaning{slot: initiatorBytes}},
	{232, meaning{slot: responderBytes}},
	{298, meaning{slot: initiatorPackets}},
	{299, meaning{slot: responderPackets}},
	{233, meaning{slot: firewallEvent}},
	{40005, meaning{slot: firewallEvent, rank: 1}}, // of Cisco ASA in NetFlow 9
	{352, meaning{slot: layer2Bytes}},
	{353, meaning{slot: layer2Bytes, rank: 1}}, // layer2OctetTotalCount
	{366, meaning{slot: station4}},
	{313, meaning{slot: packetNet}},   // ipHeaderPacketSection
	{315, meaning{slot: packetFrame}}, // dataLinkFrameSection
	{312, meaning{slot: frameLength}}, // dataLinkFrameSize
}

var timeElements = []element{
	{152, meaning{firstTime, 0, millis}},
	{154, meaning{firstTime, 1, ntp}},
	{156, meaning{firstTime, 2, ntp}},
	{150, meaning{firstTime, 3, seconds}},
	{22, meaning{firstTime, 4, uptimeUnit}},
	{158, meaning{firstTime, 5, microBefore}},
	{323, meaning{firstTime, 6, millis}}, // observation times
	{324, meaning{firstTime, 7, ntp}},
	{325, meaning{firstTime, 8, ntp}},
	{322, meaning{firstTime, 9, seconds}},
	{153, meaning{lastTime, 0, millis}},
	{155, meaning{lastTime, 1, ntp}},
	{157, meaning{lastTime, 2, ntp}},
	{151, meaning{lastTime, 3, seconds}},
	{21, meaning{lastTime, 4, uptimeUnit}},
	{159, meaning{lastTime, 5, microBefore}},
	{161, meaning{duration, 0, millis}},
	{162, meaning{duration, 1, micros}},
	{160, meaning{bootTime, 0, millis}},
}

var samplingElements = []element{
	{34, meaning{slot: interval}},
	{50, meaning{slot: randomOneOf}},
	{305, meaning{slot: taken}},
	{306, meaning{slot: space}},
	{309, meaning{slot: sampleSize}},
	{310, meaning{slot: population}},
	{311, meaning{slot: probability}},
	{302, meaning{slot: selector}},
	{48, meaning{slot: selector, rank: 1}}, // FLOW_SAMPLER_ID
}

// endOf turns a flowEndReason (RFC 5102 section 5.11.3) into an End.
func endOf(reason uint64) flow.End {
	switch reason {
	case 1:
		return flow.Idle
	case 2:
		return flow.Active
	case 5:
		return flow.Evicted
	}
	return flow.Finished
}
