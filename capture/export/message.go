package export

import (
	"encoding/binary"
	"slices"

	"vft/capture/flow"
)

// message is a NetFlow 9 or IPFIX datagram while it is decoded.
type message struct {
	*exporter
	clock
	now     int64
	left    int  // records that may still be decoded
	decoded int  // records of any kind, for sequence numbers that count them
	unsure  bool // some could not be counted
}

// sets decodes the sets (NetFlow 9: flowsets) of a message. Each consumes the
// four bytes of its header at least.
func (d *Decoder) sets(m *message, b []byte, into []flow.Record) []flow.Record {
	for len(b) >= 4 {
		id, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		switch {
		case id == 0 && length == 0: // zeros at the end
			return into
		case length < 4:
			d.counts[badSet]++
			m.unsure = true
			return into
		case length > len(b):
			d.counts[cutShort]++
			m.unsure = true
			length = len(b)
		}
		into = d.set(m, id, b[4:length], into)
		b = b[length:]
	}
	return into
}

// set decodes one set by its id (RFC 3954 section 5.2, RFC 7011 section 3.3.2).
func (d *Decoder) set(m *message, id uint16, content []byte, into []flow.Record) []flow.Record {
	templates, options := uint16(2), uint16(3)
	if m.version == flow.NetFlow9 {
		templates, options = 0, 1
	}
	switch {
	case id == templates:
		return d.templates(m, false, content, into)
	case id == options:
		return d.templates(m, true, content, into)
	case id >= 256:
		return d.dataSet(m, id, content, into)
	}
	d.counts[badSet]++
	return into
}

// dataSet decodes a set of records, or keeps it until its template comes.
func (d *Decoder) dataSet(m *message, id uint16, set []byte, into []flow.Record) []flow.Record {
	t := m.templates[id]
	if t == nil {
		m.unsure = true
		d.keep(m, id, set)
		return into
	}
	return d.data(m, t, set, into)
}

// templates takes the templates of a set. Data that waited for one of them are
// decoded.
func (d *Decoder) templates(m *message, options bool, set []byte, into []flow.Record) []flow.Record {
	for len(set) >= 4 {
		if binary.BigEndian.Uint32(set) == 0 {
			break // padding
		}
		def, ok := define(m.version, options, set)
		if !ok {
			d.counts[badTemplate]++
			break
		}
		set = set[len(def.raw):]
		if m.version == flow.IPFIX && def.fields == 0 {
			d.withdraw(m.exporter, def)
			continue
		}
		if d.learn(m.exporter, def, m.now) {
			into = d.release(m, def.id, into)
		}
	}
	return into
}

// withdraw forgets a template (RFC 7011 section 8.1). The id of the set itself
// means all templates of its kind.
func (d *Decoder) withdraw(e *exporter, def definition) {
	d.counts[templatesWithdrawn]++
	for id, t := range e.templates {
		if id == def.id || def.id < 256 && t.options == def.options {
			d.drop(e, t)
		}
	}
}

// learn takes a template, in place of one with the same id, and reports whether
// its id was not known before.
func (d *Decoder) learn(e *exporter, def definition, now int64) bool {
	old := e.templates[def.id]
	if old != nil && old.options == def.options && slices.Equal(old.raw, def.raw) {
		old.defined = now
		return false
	}
	t, ok := compile(e.version, def)
	if !ok {
		d.counts[badTemplate]++
		return false
	}
	t.defined = now
	if old != nil {
		d.drop(e, old)
	}
	d.makeRoom(e, t.cost())
	if e.templates == nil {
		e.templates = map[uint16]*template{}
	}
	e.templates[t.id] = t
	e.fields += t.cost()
	d.exporters.fields += t.cost()
	return old == nil
}

// makeRoom drops what is over the limits once a template of that cost comes to e.
func (d *Decoder) makeRoom(e *exporter, cost int) {
	if len(e.templates) >= d.cfg.MaxTemplates {
		d.dropOldest(e)
	}
	for d.exporters.fields+cost > d.cfg.MaxFields && d.exporters.last != e {
		d.counts[exportersEvicted]++
		d.forget(d.exporters.last)
	}
	for d.exporters.fields+cost > d.cfg.MaxFields && len(e.templates) > 0 {
		d.dropOldest(e)
	}
}

func (d *Decoder) dropOldest(e *exporter) {
	var oldest *template
	for _, t := range e.templates {
		if oldest == nil || t.defined < oldest.defined || t.defined == oldest.defined && t.id < oldest.id {
			oldest = t
		}
	}
	d.drop(e, oldest)
	d.counts[templatesEvicted]++
}

func (d *Decoder) drop(e *exporter, t *template) {
	delete(e.templates, t.id)
	e.fields -= t.cost()
	d.exporters.fields -= t.cost()
}
