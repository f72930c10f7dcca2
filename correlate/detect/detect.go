// Package detect finds attacks in packets and flows: scans, floods, spoofed
// addresses, injected segments, tunnels and guessed passwords. It does no I/O,
// starts no goroutine and asks for no time: everything runs on the times of the
// packets, so a replay finds what a live capture found. All memory has a
// maximum and what had to leave is counted.
package detect

import (
	"encoding/binary"
	"net/netip"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/correlate/known"
	"vft/event"
)

// Config says what the network is like and where findings go. The thresholds of
// each detection stand at the top of its file.
type Config struct {
	// Seed keys the hashes, which a stranger must not know, and makes the ids of
	// the events. The same seed and packets give the same records.
	Seed [32]byte
	// Home holds the networks that are inside; empty: the private ones.
	Home []netip.Prefix
	// Gateways and DHCPServers are known to be right. Where empty, the first
	// that is seen is taken for right.
	Gateways    []netip.Addr
	DHCPServers []netip.Addr
	// Known lists hosts that do by right what would be an attack by others; nil: none.
	Known *known.Lists
	// Observer names the interface or file in each record; may be empty.
	Observer string
	// Off names the detections that are not wanted, by the sensor of their
	// records: "scan", "flood", ...
	Off []string
	// Exported, unless nil, gets each direction of each exported flow once, whatever
	// number of exporters told of it, with its times corrected by the clock of
	// Advance: watch.Exported wants them. It must not keep them. What belongs to a
	// flood of many sources is left out.
	Exported func(*flow.Record)
	// Emit gets every record, in order, on the goroutine that calls Packet,
	// Flow, Advance or Close.
	Emit event.Emit
}

// second is the length of the windows of the floods and of the ticks of all
// detections.
const second = int64(1e9)

// Detections watches the packets of one capture. One goroutine owns it.
type Detections struct {
	hash     hasher
	episodes *episodes

	clock int64 // the latest packet time, see at
	next  int64 // when tick runs
	began int64 // the first packet time

	conns     *connections
	slow      *slowScans
	scans     *scans
	floods    *floods
	amplify   *amplification
	discovery *discovery
	spoof     *arpSpoof
	dhcp      *rogueDHCP
	injection *injection
	dns       *dnsTunnel
	brute     *bruteForce
	flows     *flows

	web        *web
	tunnels    *icmpTunnels
	routers    *routers
	redirects  *icmpRedirect
	advertised *rogueRA
	macs       *macFlood
	starve     *dhcpStarvation
	names      *namePoisoning
	answers    *dnsSpoof

	exports  *exports // nil until the first exported flow
	exported func(*flow.Record)

	onFlow    []func(*flow.Record)
	onAdvance []func(now int64)
	onClose   []func(now int64)
	onCount   []func(yield func(name string, value uint64))
}

// New returns Detections that have seen nothing.
func New(cfg Config) *Detections {
	d := &Detections{hash: newHasher(cfg.Seed), episodes: newEpisodes(&cfg), exported: cfg.Exported}
	home := newHome(cfg.Home)
	d.floods = newFloods(d.hash, d.episodes)
	d.slow = newSlowScans(cfg.Seed, d.episodes, home, d.floods)
	d.scans = newScans(d.hash, d.episodes, home, d.slow)
	d.amplify = newAmplification(d.hash, d.episodes)
	d.discovery = newDiscovery(d.hash, d.episodes, home, cfg.Gateways)
	d.spoof = newARPSpoof(d.episodes, d.discovery, cfg.Gateways)
	d.dhcp = newRogueDHCP(d.episodes, cfg.DHCPServers)
	d.injection = newInjection(d.episodes)
	d.dns = newDNSTunnel(d.hash, d.episodes)
	d.brute = newBruteForce(d.hash, d.episodes, home)
	d.conns = newConnections(d.hash)
	d.onAdvance = append(d.onAdvance, d.scans.advance, d.floods.advance)
	d.onClose = append(d.onClose, d.scans.close, d.floods.close)
	d.onCount = append(d.onCount, d.scans.counts, d.slow.counts, d.floods.counts, d.amplify.counts, d.discovery.counts, d.spoof.counts,
		d.dhcp.counts, d.injection.counts, d.dns.counts, d.brute.counts, d.conns.counts, d.episodes.counts)
	d.flows = newFlows(d, home)
	d.addKinds(&cfg, home)
	if cfg.Exported != nil { // its counters are there from the start
		d.exports = newExports(d)
	}
	return d
}

// Packet looks at one packet that passed at now, in nanoseconds since 1970.
// touch is what the flow table said of it. It allocates only when something is
// found, and does not keep p.
func (d *Detections) Packet(p *packet.Parsed, touch flow.Touch, now int64) {
	now = d.at(now)
	if touch&flow.NewFlow != 0 && p.HasMAC {
		d.macs.frame(p, now)
		d.routers.flow(p)
	}
	switch p.Transport {
	case packet.TCP:
		d.tcp(p, touch, now)
	case packet.UDP:
		d.udp(p, touch, now)
	case packet.ICMP, packet.ICMPv6:
		d.icmp(p, touch, now)
	case packet.NoTransport:
		if p.Network == packet.ARP && p.HasARP {
			d.discovery.arp(p, now)
			d.spoof.packet(p, now)
		}
		if p.HasMAC {
			d.macs.frame(p, now)
		}
	case packet.SCTP:
		if touch&flow.NewFlow != 0 && p.HasPorts {
			d.scans.begin(p, p.DstPort, sctpInit, now)
		}
	default:
		if touch&flow.NewFlow != 0 && p.IP() {
			d.scans.begin(p, uint16(p.Proto), ipProtocol, now)
		}
	}
}

// Flow looks at a finished flow, captured or exported. It does not keep r.
func (d *Detections) Flow(r *flow.Record) {
	if r.Export.Version != flow.Captured {
		if d.exports == nil {
			d.exports = newExports(d)
		}
		d.exports.record(r)
		return
	}
	for _, f := range d.onFlow {
		f(r)
	}
}

// Advance tells that no packet before now will come: an interval was closed, or
// it is now that exported flows arrive.
func (d *Detections) Advance(now int64) {
	d.at(now)
	if d.exports != nil {
		d.exports.still = 0
	}
}

// Close ends the capture: what is still open is judged by what is known of it,
// and every episode is resolved.
func (d *Detections) Close() {
	for _, f := range d.onClose {
		f(d.clock)
	}
	d.episodes.close(d.clock)
}

// Counts calls yield for every counter: what was found, and what had to leave a
// full table.
func (d *Detections) Counts(yield func(name string, value uint64)) {
	for _, f := range d.onCount {
		f(yield)
	}
}

// slack is how far the times of packets may go back: captures that were merged
// are not in order. A time further back moves the clock back.
const slack = 3600 * second

// at returns the time that counts at now, which does not go back, and ends the
// seconds that passed.
func (d *Detections) at(now int64) int64 {
	if now < d.next {
		if now > d.clock {
			d.clock = now
		} else if d.clock-now > slack {
			d.clock, d.next = now, now+second
		}
		return d.clock
	}
	if d.began == 0 {
		d.began = now
	}
	d.clock = now
	d.next = (now/second + 1) * second
	for _, f := range d.onAdvance {
		f(now)
	}
	d.episodes.advance(now)
	return now
}

// source is what a source is keyed by: an IPv6 host has a whole /64 to choose
// its addresses from.
func source(a packet.Addr) packet.Addr {
	if !a.Is4() {
		a.Lo = 0
	}
	return a
}

// many reports whether a is no single host: multicast, broadcast or none.
func many(a packet.Addr) bool {
	if a.Is4() {
		v := a.V4()
		return v>>28 == 14 || v == 0 || v&0xff == 0xff
	}
	return a.Hi>>56 == 0xff || a == packet.Addr{}
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
