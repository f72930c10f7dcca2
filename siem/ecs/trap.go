package ecs

import "vft/event"

const trapClass = `"kind":"event","category":["network","intrusion_detection"],"type":["connection","denied"],"action":"trap_hit"`

// trap writes a connection to a trap port.
func (r record) trap(e *event.Event, o Observer) record {
	t := e.Trap
	if t == nil {
		t = &event.Trap{}
	}
	r = r.event(e, o, trapClass).close()
	r = r.trapMessage(e, t)
	r = r.endpoints(e)
	r = r.key("vft").open().key("evidence").string(e.Evidence.String())
	r = r.key("trap").open().key("held_ms").int(t.Held.Milliseconds())
	if len(t.Payload) > 0 {
		r = r.key("payload").base64(t.Payload)
	}
	if t.TLS != nil {
		r = r.key("tls").tls(t.TLS)
	}
	if t.SSH != nil {
		r = r.key("ssh").open().optional("banner", t.SSH.Banner).optional("hassh", t.SSH.HASSH).close()
	}
	if t.SYN != nil {
		r = r.key("syn").syn(t.SYN)
	}
	r = r.optional("tool", t.Tool)
	if t.Late {
		r = r.key("late").bool(true)
	}
	return r.close().close()
}

// trapMessage is like: 192.0.2.7 connected to trap port 8080 on web1 (nmap).
func (r record) trapMessage(e *event.Event, t *event.Trap) record {
	r, given := r.message(e)
	if !given {
		r = r.address(e.Src.Addr()).raw(" connected to trap port ").uint(uint64(e.Dst.Port()))
		if e.Host != "" {
			r = r.raw(" on ").text(e.Host)
		}
		r = r.tool(t.Tool)
	}
	return r.quote()
}

// tool adds the program behind a connection or probe to a sentence.
func (r record) tool(name string) record {
	if name == "" {
		return r
	}
	return r.raw(" (").text(name).raw(")")
}

func (r record) tls(t *event.TLS) record {
	r = r.open().optional("sni", t.SNI)
	if len(t.ALPN) > 0 {
		r = r.key("alpn").strings(t.ALPN)
	}
	return r.optional("version", t.Version).optional("ja4", t.JA4).close()
}

// syn writes the header of the packet that opened a connection. mss is left
// out when the packet had none.
func (r record) syn(s *event.SYN) record {
	r = r.open().key("ttl").uint(uint64(s.TTL)).key("ip_id").uint(uint64(s.IPID)).key("df").bool(s.DF)
	r = r.key("window").uint(uint64(s.Window)).key("scale").uint(uint64(s.Scale))
	if s.MSS != 0 {
		r = r.key("mss").uint(uint64(s.MSS))
	}
	return r.optional("options", s.Options).optional("ja4t", s.JA4T).optional("class", s.Class).close()
}
