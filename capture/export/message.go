package export

import (
	"encoding/binary"

	"vft/capture/flow"
)

// message is a NetFlow 9 or IPFIX datagram while it is decoded.
type message struct {
	*exporter
	clock
	port    uint16 // that it came from
	now     int64
	left    int  // records that may still be decoded
	defines int  // templates that it had
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
	t := m.template(id, m.port)
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
		if m.defines >= d.cfg.MaxTemplates { // each more would push out one before it
			d.counts[tooManyTemplates]++
			break
		}
		m.defines++
		def, ok := define(m.version, options, set)
		if !ok {
			d.counts[badTemplate]++
			break
		}
		set = set[len(def.raw):]
		if m.version == flow.IPFIX && def.fields == 0 {
			d.withdraw(m.exporter, m.port, def)
			continue
		}
		if d.learn(m.exporter, m.port, def, m.now) {
			into = d.release(m, def.id, into)
		}
	}
	return into
}
