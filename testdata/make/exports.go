package main

import (
	"encoding/binary"
	"net"
	"time"
)

// exported is a flow as an exporter tells it: of one direction.
type exported struct {
	src, dst       net.IP
	sport, dport   uint16
	proto, flags   uint8
	packets, bytes uint32
	at             time.Duration // its end
}

// exports is what two exporters send about the same minutes: NetFlow 5 from one,
// IPFIX from the other. Each tells of one source above the threshold of each
// built-in sensor, and of one that just reaches it.
func exports(c *capture) {
	collector := net.IP{192, 0, 2, 200}
	for i, encode := range []func([]exported, time.Duration, uint32) []byte{netflow5, ipfix} {
		exporter := net.IP{192, 0, 2, byte(1 + i)}
		sequence := uint32(0)
		for rest := threats(); len(rest) > 0; {
			some := rest[:min(30, len(rest))]
			rest = rest[len(some):]
			sent := some[len(some)-1].at + time.Second
			c.udp(sent+time.Duration(i)*time.Millisecond, exporter, collector, 50000, [...]uint16{2055, 4739}[i], encode(some, sent, sequence))
			sequence += uint32(len(some))
		}
	}
}

// threats are flows around the thresholds of the built-in sensors.
func threats() (all []exported) {
	add := func(n int, like exported) {
		for i := range n {
			like.sport, like.at = uint16(40000+i), like.at+100*time.Millisecond
			all = append(all, like)
		}
	}
	const tcp, udp, syn, done = 6, 17, 2, 0x1b
	add(21, exported{src: client(0), dst: server(0), dport: 25, proto: tcp, flags: done, packets: 12, bytes: 4000})
	add(20, exported{src: client(1), dst: server(0), dport: 587, proto: tcp, flags: done, packets: 12, bytes: 4000})
	add(1, exported{src: client(2), dst: server(1), dport: 445, proto: tcp, flags: syn, packets: 1, bytes: 64})
	add(1, exported{src: client(3), dst: server(1), dport: 445, proto: tcp, flags: syn, packets: 1, bytes: 65})
	add(101, exported{src: client(4), dst: server(2), dport: 53, proto: udp, packets: 1, bytes: 28})
	add(100, exported{src: client(5), dst: server(2), dport: 53, proto: udp, packets: 1, bytes: 28})
	add(101, exported{src: client(6), dst: server(2), dport: 8443, proto: udp, packets: 1, bytes: 28})
	return all
}

// netflow5 makes a datagram of NetFlow version 5: a header of 24 bytes and
// records of 48. The exporter has been up for an hour.
func netflow5(flows []exported, sent time.Duration, sequence uint32) []byte {
	const uptime = 3_600_000 // milliseconds
	now := start.Add(sent)
	b := binary.BigEndian.AppendUint16(nil, 5)
	b = binary.BigEndian.AppendUint16(b, uint16(len(flows)))
	b = appendUint32s(b, uptime, uint32(now.Unix()), uint32(now.Nanosecond()), sequence, 0)
	for _, f := range flows {
		b = append(append(b, f.src.To4()...), f.dst.To4()...)
		b = appendUint32s(b, 0, 1<<16|2) // next hop, interfaces
		end := uint32(uptime - (sent - f.at).Milliseconds())
		b = appendUint32s(b, f.packets, f.bytes, end, end, uint32(f.sport)<<16|uint32(f.dport))
		b = append(b, 0, f.flags, f.proto, 0)
		b = appendUint32s(b, 0, 0) // systems, masks
	}
	return b
}

// ipfix makes a message of IPFIX (RFC 7011) with its template and one data set.
func ipfix(flows []exported, sent time.Duration, sequence uint32) []byte {
	fields := [][2]uint16{ // information element, length
		{8, 4}, {12, 4}, {7, 2}, {11, 2}, {4, 1}, {6, 1}, {2, 4}, {1, 4}, {152, 8}, {153, 8},
	}
	const template = 256
	set := appendUint16s(nil, template, uint16(len(fields)))
	for _, f := range fields {
		set = appendUint16s(set, f[0], f[1])
	}
	var data []byte
	for _, f := range flows {
		data = append(append(data, f.src.To4()...), f.dst.To4()...)
		data = append(appendUint16s(data, f.sport, f.dport), f.proto, f.flags)
		data = appendUint32s(data, f.packets, f.bytes)
		end := uint64(start.Add(f.at).UnixMilli())
		data = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(data, end), end)
	}
	const header, setHeader = 16, 4
	b := appendUint16s(nil, 10, uint16(header+setHeader+len(set)+setHeader+len(data)))
	b = appendUint32s(b, uint32(start.Add(sent).Unix()), sequence, 7)
	b = append(appendUint16s(b, 2, uint16(setHeader+len(set))), set...)
	return append(appendUint16s(b, template, uint16(setHeader+len(data))), data...)
}

func appendUint32s(b []byte, all ...uint32) []byte {
	for _, v := range all {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func appendUint16s(b []byte, all ...uint16) []byte {
	for _, v := range all {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}
