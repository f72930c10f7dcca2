package ecs

import (
	"net/netip"

	"vft/event"
	"vft/ipproto"
)

const flowClass = `"kind":"event","category":["network"],"type":["connection","end"],"action":"flow"`

// flow writes a flow that ended.
func (r record) flow(e *event.Event, o Observer) record {
	f := e.Flow
	if f == nil {
		f = &event.Flow{}
	}
	r = r.event(e, o, flowClass).key("start").time(f.Start).key("end").time(f.End)
	r = r.key("duration").int(max(0, f.End.Sub(f.Start).Nanoseconds())).close()
	r = r.flowMessage(e, f)
	r = r.counted("source", e.Src, e.Transport, f.SrcBytes, f.SrcPackets)
	r = r.counted("destination", e.Dst, e.Transport, f.DstBytes, f.DstPackets)
	r = r.key("network").open().path(e).key("bytes").uint(f.Bytes).key("packets").uint(f.Packets).communityOf(e).close()
	r = r.key("related").open().key("ip").relatedAll(e.Src.Addr(), e.Dst.Addr(), parseAddr(f.Exporter)).close()
	return r.key("vft").open().key("flow").export(e, f).close()
}

// export writes how a flow was seen. A flow that was not sampled was exported
// as it is.
func (r record) export(e *event.Event, f *event.Flow) record {
	r = r.open()
	if e.Transport == "tcp" || f.TCPFlags != 0 {
		r = r.key("tcp_flags").uint(uint64(f.TCPFlags))
	}
	r = r.optional("ended", f.Ended).optional("exporter", f.Exporter).optional("version", f.Version)
	packets, bytes := f.SampledPackets, f.SampledBytes
	if f.Sampling <= 1 && packets == 0 && bytes == 0 {
		packets, bytes = f.Packets, f.Bytes
	}
	r = r.key("sampling").uint(uint64(max(1, f.Sampling)))
	return r.key("sampled_packets").uint(packets).key("sampled_bytes").uint(bytes).close()
}

// counted writes an end of a flow with what it sent.
func (r record) counted(name string, a netip.AddrPort, transport string, bytes, packets uint64) record {
	if !a.Addr().IsValid() {
		return r
	}
	r = r.key(name).open().end(a, transport)
	return r.key("bytes").uint(bytes).key("packets").uint(packets).close()
}

// flowMessage is like: tcp flow from 192.0.2.7 to port 443 of 198.51.100.10: 3 packets, 300 bytes.
func (r record) flowMessage(e *event.Event, f *event.Flow) record {
	r, given := r.message(e)
	if !given {
		r = r.text(first(e.Transport, "IP")).raw(" flow from ").address(e.Src.Addr()).raw(" to ")
		if ipproto.HasPorts(e.Transport) {
			r = r.raw("port ").uint(uint64(e.Dst.Port())).raw(" of ")
		}
		r = r.address(e.Dst.Addr()).raw(": ").uint(f.Packets).raw(plural(f.Packets, " packet", " packets"))
		r = r.raw(", ").uint(f.Bytes).raw(plural(f.Bytes, " byte", " bytes"))
	}
	return r.quote()
}
