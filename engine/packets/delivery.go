package packets

import (
	"math"
	"net/netip"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/engine/record"
	"vft/event"
	"vft/ipproto"
)

// deliver is where all that comes of the packets leaves, in the order of the
// journal: what the analyzers found, the flows that ended, and the packets that
// are kept.
func (e *Engine) deliver(j *journal) {
	var done [analyzers]int
	var keep func(at, n int)
	if e.packets != nil { // a packet is kept before a finding may ask for it
		keep = func(at, n int) {
			e.keepPacket(&j.packets.Parsed[n], j.packets.Times[n])
			e.deliverUntil(j, &done, at)
		}
	}
	j.read(keep, func(at int, s *step) {
		e.deliverUntil(j, &done, at)
		switch s.kind {
		case stepEnded:
			e.deliverFlow(&s.record)
		case stepInterval:
			if e.packets != nil {
				e.packets.Advance(s.at)
			}
			if e.replay {
				e.out.Tick(time.Unix(0, s.at))
			}
		}
	})
	e.deliverUntil(j, &done, math.MaxInt)
}

// deliverUntil delivers the findings up to a place of the journal.
func (e *Engine) deliverUntil(j *journal, done *[analyzers]int, until int) {
	for {
		first, at := -1, math.MaxInt
		for a := range analyzers {
			if rest := j.found[a][done[a]:]; len(rest) > 0 && rest[0].at < at {
				first, at = a, rest[0].at
			}
		}
		if first < 0 || at > until {
			return
		}
		e.deliverFinding(j.found[first][done[first]].event)
		done[first]++
	}
}

// deliverFinding hands on what an analyzer has found, with the process behind it,
// and keeps the packets that it is about.
func (e *Engine) deliverFinding(found event.Event) {
	switch f := found.Finding; {
	case f != nil:
		f.Process = e.ownerOf(f.Transport, f.Src, f.Dst)
		e.archive(f.Offender, f.Transport, f.Src, f.Dst)
	case found.Dataset != event.DatasetStat:
		found.Process = e.ownerOf(found.Transport, found.Src, found.Dst)
		if found.Threat != nil {
			offender, _ := netip.ParseAddr(found.Threat.Offender) // invalid: none is known
			e.archive(offender, "", netip.AddrPort{}, netip.AddrPort{})
		} else {
			e.archive(netip.Addr{}, found.Transport, found.Src, found.Dst)
		}
	}
	if record.Fires(&found) {
		e.alerts++
	}
	e.out.Write(found)
}

// deliverFlow hands on a flow that has ended.
func (e *Engine) deliverFlow(r *flow.Record) {
	if e.settings.WriteFlows {
		ended := record.Flow(r)
		ended.Process = e.owner(r)
		e.out.Write(ended)
	}
	// After the other ends the flow goes on, or the packet log itself closes.
	if e.packets != nil && (r.End == flow.Idle || r.End == flow.Evicted) {
		e.packets.End(r.Key)
	}
}

// keepPacket keeps a packet.
func (e *Engine) keepPacket(p *packet.Parsed, now int64) {
	if key, ok := flow.KeyOf(p); ok {
		e.packets.Packet(key, p.Link, now, p.Wire, p.Data)
	}
}

// archive keeps the packets of the one flow that a finding is about, else of its
// offender.
func (e *Engine) archive(offender netip.Addr, transport string, src, dst netip.AddrPort) {
	switch {
	case e.packets == nil:
	case dst.IsValid() && (src.Port() != 0 || !offender.IsValid()):
		proto, _ := ipproto.Number(transport)
		e.packets.Archive(flow.Key{Src: packet.AddrFrom(src.Addr()), Dst: packet.AddrFrom(dst.Addr()),
			SrcPort: src.Port(), DstPort: dst.Port(), Proto: proto, Ports: src.Port() != 0})
	case offender.IsValid():
		e.packets.ArchiveHost(packet.AddrFrom(offender))
	}
}

// owner is the process of the local end of a flow, if it is a local one.
func (e *Engine) owner(r *flow.Record) *event.Process {
	if e.process == nil || !r.Ports {
		return nil
	}
	src, dst := netip.AddrPortFrom(r.Src.Netip(), r.SrcPort), netip.AddrPortFrom(r.Dst.Netip(), r.DstPort)
	return e.ownerOf(ipproto.Name(r.Proto), src, dst)
}

func (e *Engine) ownerOf(transport string, src, dst netip.AddrPort) *event.Process {
	if e.process == nil || transport != "tcp" && transport != "udp" {
		return nil
	}
	p, _, ok := e.process.Either(transport, src, dst)
	if !ok {
		return nil
	}
	return &event.Process{PID: p.PID, Name: p.Name, CommandLine: p.CommandLine, User: p.User, Container: p.Container}
}
