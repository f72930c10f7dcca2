package ecs

import (
	"net/netip"

	"vft/event"
)

const threatClass = `"kind":"event","category":["network","intrusion_detection"],"type":["info"]`

// threat writes what a detection or a sensor found.
func (r record) threat(e *event.Event, o Observer) record {
	t := e.Threat
	if t == nil {
		t = &event.Threat{}
	}
	r = r.event(e, o, threatClass).key("action").quote().raw("threat_").text(string(t.State)).quote()
	r = r.key("severity").int(int64(t.Severity)).key("start").time(t.Start).key("end").time(t.End).close()
	r = r.threatMessage(e, t)
	r = r.threatEnds(e)
	r = r.key("related").open().key("ip").relatedAll(e.Src.Addr(), e.Dst.Addr(), parseAddr(t.Offender), parseAddr(t.Observer)).close()
	r = r.technique(technique(t.Type))
	r = r.key("vft").open().key("threat").open().key("type").string(t.Type)
	r = r.key("observer").string(first(t.Observer, e.Host, o.Hostname)).key("offender").string(t.Offender)
	r = r.key("sensor").string(t.Sensor).key("state").string(string(t.State)).key("episode").string(t.Episode)
	return r.key("details").freeMap(t.Details, event.MaxNested).close().partOf(t.Incident).close()
}

// partOf names the incident that a finding belongs to.
func (r record) partOf(incident string) record {
	if incident == "" {
		return r
	}
	return r.key("incident").open().key("id").string(incident).close()
}

// threatEnds writes the ends and the network. A threat is often about all ports
// of an end: then there is none to name, and no flow to find by a Community ID.
func (r record) threatEnds(e *event.Event) record {
	transport := func(a netip.AddrPort) string {
		if a.Port() == 0 {
			return ""
		}
		return e.Transport
	}
	r = r.endpoint("source", e.Src, transport(e.Src)).endpoint("destination", e.Dst, transport(e.Dst))
	if e.Transport == "" || !e.Src.Addr().IsValid() {
		return r
	}
	r = r.key("network").open().path(e)
	if e.Src.Port() != 0 && e.Dst.Port() != 0 {
		r = r.communityOf(e)
	}
	return r.close()
}

// technique returns the id of MITRE ATT&CK for a type of threat, "" when none
// is obvious (attack.mitre.org, Enterprise).
func technique(kind string) string {
	switch kind {
	case "portscan", "winscan", "horizontal_scan", "vertical_scan", "slow_scan":
		return "T1046" // Network Service Discovery
	case "host_discovery":
		return "T1018" // Remote System Discovery
	case "syn_flood", "tcp_flood":
		return "T1499.001" // OS Exhaustion Flood
	case "udp_flood", "icmp_flood":
		return "T1498.001" // Direct Network Flood
	case "amplification":
		return "T1498.002" // Reflection Amplification
	case "beacon":
		return "T1071" // Application Layer Protocol
	case "dns_tunnel":
		return "T1071.004" // DNS
	case "brute_force":
		return "T1110" // Brute Force
	case "new_peer":
		return "T1021" // Remote Services
	case "arp_spoof":
		return "T1557.002" // ARP Cache Poisoning
	case "rogue_dhcp":
		return "T1557.003" // DHCP Spoofing
	case "tcp_injection":
		return "T1659" // Content Injection
	}
	return ""
}

// technique writes a technique of MITRE ATT&CK, or nothing without one.
func (r record) technique(id string) record {
	if id == "" {
		return r
	}
	r = r.key("threat").open().key("framework").raw(`"MITRE ATT&CK"`)
	return r.key("technique").open().key("id").array().string(id).endArray().close().close()
}

// threatMessage is like: portscan by 192.0.2.7: firing, severity 60.
func (r record) threatMessage(e *event.Event, t *event.Threat) record {
	r, given := r.message(e)
	if !given {
		r = r.text(first(t.Type, "Threat"))
		if t.Offender != "" {
			r = r.raw(" by ").text(t.Offender)
		}
		r = r.raw(": ").text(string(t.State)).raw(", severity ").int(int64(t.Severity))
	}
	return r.quote()
}

// parseAddr returns the address that s is, or none.
func parseAddr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}
