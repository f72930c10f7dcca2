package export

import (
	"net/netip"

	"vft/capture/flow"
)

// sflow decodes an sFlow 5 datagram.
func (d *Decoder) sflow(from netip.AddrPort, b []byte, now int64, into []flow.Record) []flow.Record {
	return into
}
