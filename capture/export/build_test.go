package export

import (
	"encoding/binary"

	"vft/capture/flow"
)

var be = binary.BigEndian

// fixedDatagram returns a NetFlow 1, 5 or 7 datagram of equal records.
func fixedDatagram(v flow.Version, count int, seq uint32) []byte {
	number := map[flow.Version]uint16{flow.NetFlow1: 1, flow.NetFlow5: 5, flow.NetFlow7: 7}[v]
	b := be.AppendUint16(nil, number)
	b = be.AppendUint16(b, uint16(count))
	b = be.AppendUint32(b, 60_000)
	b = be.AppendUint32(b, uint32(sentAt.Unix()))
	b = be.AppendUint32(b, 0)
	if v != flow.NetFlow1 {
		b = be.AppendUint32(b, seq)
		b = append(b, 1, 2, 0, 0)
	}
	for range count {
		b = append(b, 10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0)
		b = be.AppendUint32(b, 4)
		b = be.AppendUint32(b, 240)
		b = be.AppendUint32(b, 57_000)
		b = be.AppendUint32(b, 59_000)
		b = be.AppendUint16(b, 1025)
		b = be.AppendUint16(b, 25)
		switch v {
		case flow.NetFlow1:
			b = append(b, 0, 0, 6, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		case flow.NetFlow5:
			b = append(b, 0, 0x12, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		case flow.NetFlow7:
			b = append(b, 0, 0x12, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		}
	}
	return b
}
