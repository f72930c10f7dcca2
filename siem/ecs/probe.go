package ecs

import (
	"vft/event"
	"vft/ipproto"
)

const probeClass = `"kind":"event","category":["network","intrusion_detection"],"type":["info"],"action":"probe"`

// probe writes a packet that tried a port.
func (r record) probe(e *event.Event, o Observer) record {
	p := e.Probe
	if p == nil {
		p = &event.Probe{}
	}
	r = r.event(e, o, probeClass).close()
	r = r.probeMessage(e, p)
	r = r.endpoints(e)
	r = r.key("vft").open().key("evidence").string(e.Evidence.String())
	r = r.key("probe").open().key("scan").string(p.Scan)
	if p.SYN != nil {
		r = r.key("syn").syn(p.SYN)
	}
	return r.optional("tool", p.Tool).close().close()
}

// probeMessage is like: 192.0.2.7 probed port 22 of 10.0.0.5 with a syn scan (nmap).
func (r record) probeMessage(e *event.Event, p *event.Probe) record {
	r, given := r.message(e)
	if !given {
		r = r.address(e.Src.Addr()).raw(" probed ")
		if ipproto.HasPorts(e.Transport) {
			r = r.raw("port ").uint(uint64(e.Dst.Port())).raw(" of ")
		}
		r = r.address(e.Dst.Addr())
		if p.Scan != "" {
			r = r.raw(" with a ").text(p.Scan).raw(" scan")
		}
		r = r.tool(p.Tool)
	}
	return r.quote()
}
