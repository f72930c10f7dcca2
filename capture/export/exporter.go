package export

import (
	"container/list"
	"iter"
	"net/netip"

	"vft/capture/flow"
	"vft/capture/packet"
)

// Exporter tells what is known of one exporter.
type Exporter struct {
	Address  packet.Addr
	Agent    packet.Addr // whom sFlow datagrams of Address tell of; zero for the others
	Domain   uint32      // source id, observation domain, engine or sub-agent
	Version  flow.Version
	Last     int64  // arrival of its last datagram, nanoseconds since 1970
	Sampling uint32 // the rate that records without one of their own are multiplied by; 0 and 1: none
	// Skew is what is added to the times of the exporter, nanoseconds; not 0 only
	// where its clock is off by more than Config.MaxSkew.
	Skew      int64
	Templates int // remembered

	Datagrams uint64
	Records   uint64 // decoded
	Sent      uint64 // units of its sequence numbers that came: datagrams of NetFlow 9 and sFlow, else records
	Lost      uint64 // units that its sequence numbers say were sent and never came
	Restarts  uint64 // jumps of its sequence numbers that are no plausible loss
	Missing   uint64 // sets of data that came without their template
}

// Exporters yields the exporters: those heard for long first, then newcomers, and
// of each the one heard last first.
func (d *Decoder) Exporters() iter.Seq[Exporter] {
	return func(yield func(Exporter) bool) {
		for e := d.exporters.first; e != nil; e = e.next {
			if !yield(e.view()) {
				return
			}
		}
	}
}

func (e *exporter) view() Exporter {
	seq := e.seq.sum()
	return Exporter{
		Address: e.addr, Agent: e.agent, Domain: e.domain, Version: e.version,
		Last: e.last, Sampling: e.rate(0), Skew: e.skew, Templates: len(e.templates),
		Datagrams: e.datagrams, Records: e.records,
		Sent: seq.sent, Lost: seq.before, Restarts: seq.restarts, Missing: e.missing,
	}
}

// exporterKey is what templates and sampling belong to. The port is not part of
// it: line cards of one router send from several.
type exporterKey struct {
	addr    packet.Addr
	agent   packet.Addr // of sFlow: for whom addr sends, which tells sequences apart; else zero
	domain  uint32
	version flow.Version
}

type exporter struct {
	exporterKey
	last      int64 // arrival of the last datagram
	skew      int64 // see clock
	seq       sequences
	templates map[templateKey]*template
	order     list.List // of the templates; the one not defined for longest first
	shared    bool      // ports give an id different meanings
	fields    int       // of all templates
	started   uint64    // milliseconds since 1970, as an IPFIX option told; 0: not known
	sampling  sampling

	waiting      map[uint16][]*waitingSet // its data that wait for a template, by its id, oldest first
	waitingBytes int

	datagrams, records, missing uint64

	heard      int64 // arrival of the first datagram
	proven     bool  // no newcomer any more
	next, prev *exporter
}

// exporters holds the exporters by key, and in the order in which they give way,
// the first one last: those that are proven by the last datagram, and behind them
// newcomers likewise. Whoever forges exporters pushes out newcomers, not those that
// have been heard for some time.
type exporters struct {
	byKey       map[exporterKey]*exporter
	first, last *exporter
	newest      *exporter // the first newcomer
	proven      int       // how many are
	fields      int       // of all templates of all exporters
}

const (
	provenAfter     = 30 * second // since the first datagram
	provenDatagrams = 3
)

func newExporters() exporters {
	return exporters{byKey: map[exporterKey]*exporter{}}
}

// exporter returns the exporter of a datagram that arrived at now and has a
// sound header, and counts the datagram. A new one may push out the one that
// was not heard for longest. It is valid until the next call.
func (d *Decoder) exporter(addr netip.Addr, domain uint32, version flow.Version, now int64) *exporter {
	return d.known(exporterKey{addr: packet.AddrFrom(addr), domain: domain, version: version}, now)
}

func (d *Decoder) known(key exporterKey, now int64) *exporter {
	e := d.exporters.byKey[key]
	if e == nil {
		if len(d.exporters.byKey) >= d.cfg.MaxExporters {
			d.forget(d.exporters.last)
			d.counts[exportersEvicted]++
		}
		e = d.remember(key)
		e.heard = now
	}
	e.last = now
	e.datagrams++
	d.exporters.touch(e)
	if !e.proven && e.datagrams >= provenDatagrams && now-e.heard >= provenAfter {
		d.exporters.prove(e, d.cfg.MaxExporters/4*3)
	}
	return e
}

// remember adds an exporter that is not known yet.
func (d *Decoder) remember(key exporterKey) *exporter {
	e := &exporter{exporterKey: key}
	if d.cfg.Sampling != nil {
		e.sampling.override = d.cfg.Sampling(key.addr)
	}
	d.exporters.byKey[key] = e
	return e
}

// forget drops an exporter and all that belongs to it.
func (d *Decoder) forget(e *exporter) {
	d.abandon(e)
	d.exporters.fields -= e.fields
	if e.proven {
		d.exporters.proven--
	}
	delete(d.exporters.byKey, e.exporterKey)
	d.exporters.unlink(e)
}

// touch moves e to the front of its kind.
func (x *exporters) touch(e *exporter) {
	switch {
	case e.proven && x.first != e:
		x.unlink(e)
		x.insert(e, x.first)
	case !e.proven && x.newest != e:
		x.unlink(e)
		x.insert(e, x.newest)
		x.newest = e
	}
}

// prove makes e one of the proven. When they are more than most, the one of them
// that was not heard for longest is a newcomer again, the first of them.
func (x *exporters) prove(e *exporter, most int) {
	x.unlink(e)
	x.insert(e, x.first)
	e.proven = true
	if x.proven++; x.proven <= most {
		return
	}
	quiet := x.last
	if x.newest != nil {
		quiet = x.newest.prev
	}
	quiet.proven = false
	x.proven--
	x.newest = quiet
}

// insert puts e before another; nil: at the end.
func (x *exporters) insert(e, before *exporter) {
	e.next, e.prev = before, x.last
	if before != nil {
		e.prev, before.prev = before.prev, e
	} else {
		x.last = e
	}
	if e.prev != nil {
		e.prev.next = e
	} else {
		x.first = e
	}
}

// unlink takes e out of the order; one that is not in it stays out.
func (x *exporters) unlink(e *exporter) {
	if x.newest == e {
		x.newest = e.next
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else if x.first == e {
		x.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else if x.last == e {
		x.last = e.prev
	}
	e.next, e.prev = nil, nil
}
