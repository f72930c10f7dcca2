package export

import (
	"encoding/binary"
	"net/netip"

	"vft/capture/flow"
)

// netflow9 decodes a NetFlow 9 datagram (RFC 3954). Its sequence number counts
// datagrams.
func (d *Decoder) netflow9(from netip.AddrPort, b []byte, now int64, into []flow.Record) []flow.Record {
	const header = 20
	if len(b) < header {
		d.counts[shortHeader]++
		return into
	}
	uptime, sent := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	e := d.exporter(from.Addr(), binary.BigEndian.Uint32(b[16:]), flow.NetFlow9, now)
	e.seq.of(from.Port()).saw(binary.BigEndian.Uint32(b[12:]), 1)
	m := message{exporter: e, port: from.Port(), now: now, left: MaxRecords, clock: d.clock(e, int64(sent)*second, now, uptime)}
	return d.sets(&m, b[header:], into)
}
