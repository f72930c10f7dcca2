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

// spec is one field of a template of the tests: its number, its length, and the
// enterprise; 0: IANA.
type spec struct {
	id, length uint16
	enterprise uint32
}

// set returns a set of NetFlow 9 or IPFIX.
func set(id uint16, content ...[]byte) []byte {
	b := be.AppendUint16(nil, id)
	b = append(b, 0, 0)
	for _, c := range content {
		b = append(b, c...)
	}
	be.PutUint16(b[2:], uint16(len(b)))
	return b
}

// templateOf returns a template record.
func templateOf(id uint16, fields ...spec) []byte {
	b := be.AppendUint16(nil, id)
	b = be.AppendUint16(b, uint16(len(fields)))
	return append(b, specs(fields)...)
}

func specs(fields []spec) (b []byte) {
	for _, f := range fields {
		if f.enterprise != 0 {
			f.id |= 0x8000
		}
		b = be.AppendUint16(b, f.id)
		b = be.AppendUint16(b, f.length)
		if f.enterprise != 0 {
			b = be.AppendUint32(b, f.enterprise)
		}
	}
	return b
}

// optionsOf returns an options template record of IPFIX, optionsOf9 of NetFlow 9.
func optionsOf(id uint16, scopes int, fields ...spec) []byte {
	b := be.AppendUint16(nil, id)
	b = be.AppendUint16(b, uint16(len(fields)))
	b = be.AppendUint16(b, uint16(scopes))
	return append(b, specs(fields)...)
}

func optionsOf9(id uint16, scopes int, fields ...spec) []byte {
	b := be.AppendUint16(nil, id)
	b = be.AppendUint16(b, uint16(4*scopes))
	b = be.AppendUint16(b, uint16(4*(len(fields)-scopes)))
	return append(b, specs(fields)...)
}

// netflow9Of and ipfixOf return datagrams of sets.
func netflow9Of(domain, seq uint32, sets ...[]byte) []byte {
	b := be.AppendUint16(nil, 9)
	b = be.AppendUint16(b, uint16(len(sets)))
	b = be.AppendUint32(b, 60_000)
	b = be.AppendUint32(b, uint32(sentAt.Unix()))
	b = be.AppendUint32(b, seq)
	b = be.AppendUint32(b, domain)
	for _, s := range sets {
		b = append(b, s...)
	}
	return b
}

func ipfixOf(domain, seq uint32, sets ...[]byte) []byte {
	b := be.AppendUint16(nil, 10)
	b = be.AppendUint16(b, 0)
	b = be.AppendUint32(b, uint32(sentAt.Unix()))
	b = be.AppendUint32(b, seq)
	b = be.AppendUint32(b, domain)
	for _, s := range sets {
		b = append(b, s...)
	}
	be.PutUint16(b[2:], uint16(len(b)))
	return b
}

// usual is a template like those of routers, with usualRecord of it.
var usual = []spec{
	{8, 4, 0}, {12, 4, 0}, {22, 4, 0}, {21, 4, 0}, {1, 4, 0}, {2, 4, 0}, {10, 4, 0}, {14, 4, 0}, {61, 1, 0},
	{7, 2, 0}, {11, 2, 0}, {4, 1, 0}, {6, 1, 0}, {60, 1, 0}, {5, 1, 0},
}

func usualRecord() []byte {
	b := []byte{10, 0, 0, 1, 10, 0, 0, 2}
	for _, n := range []uint32{57_000, 59_000, 240, 4, 3, 5} {
		b = be.AppendUint32(b, n)
	}
	b = append(b, 0)
	b = be.AppendUint16(b, 1025)
	b = be.AppendUint16(b, 25)
	return append(b, 6, 0x12, 4, 0)
}

// modern is the same in IPFIX, with absolute times.
var modern = []spec{
	{8, 4, 0}, {12, 4, 0}, {152, 8, 0}, {153, 8, 0}, {1, 8, 0}, {2, 8, 0}, {10, 4, 0}, {14, 4, 0}, {61, 1, 0},
	{7, 2, 0}, {11, 2, 0}, {4, 1, 0}, {6, 2, 0}, {60, 1, 0}, {5, 1, 0},
}

func modernRecord() []byte {
	b := []byte{10, 0, 0, 1, 10, 0, 0, 2}
	for _, n := range []uint64{uint64(sentAt.UnixMilli()) - 3000, uint64(sentAt.UnixMilli()) - 1000, 240, 4} {
		b = be.AppendUint64(b, n)
	}
	b = append(b, 0, 0, 0, 3, 0, 0, 0, 5, 0)
	b = be.AppendUint16(b, 1025)
	b = be.AppendUint16(b, 25)
	return append(b, 6, 0, 0x12, 4, 0)
}
