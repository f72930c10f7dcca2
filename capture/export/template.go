package export

import (
	"container/list"
	"encoding/binary"
	"slices"

	"vft/capture/flow"
)

const (
	// maxTemplateFields is how many fields a template may have; those of the most
	// talkative exporters have about a hundred.
	maxTemplateFields = 512
	// maxRecordSize is the longest record that fits a UDP datagram with its headers.
	maxRecordSize = 65535 - 20 - 4

	variable   = 65535 // a field length: the record states it
	reversePEN = 29305 // RFC 5103 section 6.1

	templateCost = 16 // what a template without fields takes, in fields
)

// template says how the records of a set look, compiled to the steps that copy
// what a flow needs.
type template struct {
	id       uint16
	key      templateKey
	port     uint16 // that it came from
	options  bool
	variable bool // some field has its length in the record
	size     int  // bytes of a record, padding not counted; the least when variable
	steps    []step
	has      uint64 // bits of the slots that a record fills
	units    [slots]unit
	raw      []byte // the template as it came
	defined  int64  // when it came last
	at       *list.Element
}

// step copies n bytes of a record into a slot. off is where they are; in a
// variable template, how many bytes after the step before.
type step struct {
	off, n uint16
	slot   slot
}

// field is one field as a template describes it.
type field struct {
	id, length uint16
	enterprise uint32 // 0: IANA
	scope      bool
}

func (t *template) fills(s slot) bool { return t.has&(1<<s) != 0 }

func (t *template) cost() int { return templateCost + len(t.raw)/4 }

// definition is a template record that was not compiled yet.
type definition struct {
	id             uint16
	fields, scopes int
	options        bool
	raw            []byte // all of it, header included
	body           []byte // its fields
}

// define reads the template record at the start of b, and false when it is cut.
// One of IPFIX without fields is the withdrawal of a template, without more.
func define(version flow.Version, options bool, b []byte) (def definition, ok bool) {
	if len(b) < 4 {
		return def, false
	}
	count := int(binary.BigEndian.Uint16(b[2:]))
	def.id, def.fields, def.options = binary.BigEndian.Uint16(b), count, options
	header := 4
	if options && (count > 0 || version == flow.NetFlow9) {
		if header = 6; len(b) < header {
			return def, false
		}
		if def.scopes = int(binary.BigEndian.Uint16(b[4:])); version == flow.NetFlow9 { // both in bytes
			def.scopes, def.fields = count/4, count/4+def.scopes/4
		}
	}
	n := header
	for range def.fields {
		if len(b) < n+4 {
			return def, false
		}
		if version == flow.IPFIX && b[n]&0x80 != 0 {
			n += 4
		}
		n += 4
	}
	if len(b) < n {
		return def, false
	}
	def.raw, def.body = b[:n], b[header:n]
	return def, true
}

// compile makes the template of a definition, and false when its records could
// not be decoded: no id, no field, too many of them, or no size or too much.
func compile(version flow.Version, def definition) (*template, bool) {
	if def.id < 256 || def.fields == 0 || def.fields > maxTemplateFields || def.scopes > def.fields {
		return nil, false
	}
	t := &template{id: def.id, options: def.options}
	fields := def.list(version)
	for _, f := range fields {
		if f.length == variable {
			t.variable = true
			t.size++
		} else {
			t.size += int(f.length)
		}
	}
	if t.size == 0 || t.size > maxRecordSize {
		return nil, false
	}
	t.addSteps(version, fields)
	t.raw = slices.Clone(def.raw)
	return t, true
}

// list returns the fields of a definition.
func (def definition) list(version flow.Version) []field {
	fields := make([]field, 0, def.fields)
	for b := def.body; len(b) >= 4; {
		f := field{id: binary.BigEndian.Uint16(b), length: binary.BigEndian.Uint16(b[2:]), scope: len(fields) < def.scopes}
		b = b[4:]
		if version == flow.IPFIX && f.id&0x8000 != 0 {
			f.id &= 0x7fff
			f.enterprise = binary.BigEndian.Uint32(b)
			b = b[4:]
		}
		fields = append(fields, f)
	}
	return fields
}

// addSteps makes the steps of a template. Fields that no record needs become
// part of the way to the next one, except those of variable length.
func (t *template) addSteps(version flow.Version, fields []field) {
	taken := choose(version, fields)
	at := 0 // bytes to the field: from the start, or in a variable template from the step before
	for i, f := range fields {
		m := taken[i]
		if m.slot == unused && f.length != variable {
			at += int(f.length)
			continue
		}
		if m.slot < slots {
			t.has |= 1 << m.slot
			t.units[m.slot] = m.unit
		}
		t.addStep(at, f.length, m.slot)
		if at += int(f.length); t.variable {
			at = 0
		}
	}
	if t.variable && at > 0 { // what follows the last step is part of the record
		t.steps = append(t.steps, step{off: uint16(at), slot: unused})
	}
	t.steps = slices.Clip(t.steps)
}

// addStep adds the step or, for an IPv6 address, the two steps of one field.
func (t *template) addStep(at int, length uint16, s slot) {
	if s != src6High && s != dst6High {
		t.steps = append(t.steps, step{uint16(at), length, s})
		return
	}
	second := at + 8
	if t.variable {
		second = 0
	}
	t.steps = append(t.steps, step{uint16(at), 8, s}, step{uint16(second), 8, s + 1})
}

// choose returns for each field what it is for. Of several fields for one slot
// one is taken: that of the lowest rank, then the last. A template that has a
// field twice lists the headers of a tunnel from the outside in (RFC 7011
// section 8), and it is the inner ones that have ports.
func choose(version flow.Version, fields []field) []meaning {
	out := make([]meaning, len(fields))
	var best [maxSlots]int // 1 + index of the field
	for i, f := range fields {
		m, ok := f.meaning(version)
		out[i] = m
		if !ok || !fits(m.slot, f.length) {
			out[i].slot = unused
			continue
		}
		if b := best[m.slot]; b != 0 && out[b-1].rank < m.rank {
			out[i].slot = unused
			continue
		} else if b != 0 {
			out[b-1].slot = unused
		}
		best[m.slot] = i + 1
	}
	return out
}

func (f field) meaning(version flow.Version) (meaning, bool) {
	switch {
	case f.enterprise == reversePEN:
		return reverseOf(f.id)
	case f.enterprise != 0:
		return meaning{slot: unused}, false
	case f.scope && version == flow.NetFlow9:
		return scopeOf(f.id)
	}
	return meaningOf(f.id)
}

// fits reports whether a field of that length can hold what its slot is for.
// Numbers may be shorter than the registry says (RFC 7011 section 6.2).
func fits(s slot, length uint16) bool {
	switch s {
	case src4, dst4, station4:
		return length == 4
	case src6High, dst6High:
		return length == 16
	case packetFrame, packetNet:
		return length > 0
	case probability:
		return length == 8
	}
	return length > 0 && length <= 8
}
