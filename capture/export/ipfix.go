package export

import (
	"encoding/binary"
	"net/netip"

	"vft/capture/flow"
)

// ipfix decodes an IPFIX message (RFC 7011). Its sequence number counts the
// records that were sent before, those of options too.
func (d *Decoder) ipfix(from netip.AddrPort, b []byte, now int64, into []flow.Record) []flow.Record {
	const header = 16
	if len(b) < header {
		d.counts[shortHeader]++
		return into
	}
	if length := int(binary.BigEndian.Uint16(b[2:])); length > len(b) {
		d.counts[cutShort]++
	} else {
		b = b[:max(length, header)]
	}
	sent, seq := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	e := d.exporter(from.Addr(), binary.BigEndian.Uint32(b[12:]), flow.IPFIX, now)
	m := message{exporter: e, port: from.Port(), now: now, left: MaxRecords, clock: d.clock(e, int64(sent)*second, now, 0)}
	into = d.sets(&m, b[header:], into)
	numbers := e.seq.of(from.Port())
	numbers.saw(seq, uint32(m.decoded))
	if m.unsure {
		numbers.unsure()
	}
	return into
}
