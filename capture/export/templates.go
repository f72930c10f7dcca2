package export

import (
	"bytes"
	"time"
)

// templateKey is the id of a template, and the port that alone uses it; 0: every
// port of its exporter.
type templateKey struct{ id, port uint16 }

// heardOf is how long after its last definition a template keeps another port
// from taking its id. Exporters repeat templates every half hour at least.
const heardOf = int64(time.Hour)

// template returns the template for data that came from a port, or nil. Line
// cards of one router may send templates from one port and data from another;
// but two programs on one host, or behind one translated address, may give an id
// two meanings, and then each port has its own.
func (e *exporter) template(id, port uint16) *template {
	if e.shared {
		if t := e.templates[templateKey{id, port}]; t != nil {
			return t
		}
	}
	return e.templates[templateKey{id: id}]
}

// same reports whether a template is what a definition says.
func (t *template) same(def definition) bool {
	return t.options == def.options && bytes.Equal(t.raw, def.raw)
}

// learn takes a template, in place of one with the same id, and reports whether
// its id was not known before.
func (d *Decoder) learn(e *exporter, port uint16, def definition, now int64) bool {
	key := templateKey{id: def.id}
	old := e.templates[key]
	if old != nil && old.port != port && !old.same(def) && now-old.defined < heardOf {
		e.shared, key.port = true, port
		old = e.templates[key]
	}
	if old != nil && old.same(def) {
		old.defined = now
		e.order.MoveToBack(old.at)
		return false
	}
	t, ok := compile(e.version, def)
	if !ok {
		d.counts[badTemplate]++
		return false
	}
	t.key, t.port, t.defined = key, port, now
	if old != nil {
		d.drop(e, old)
	}
	d.makeRoom(e, t.cost())
	if e.templates == nil {
		e.templates = map[templateKey]*template{}
	}
	e.templates[key] = t
	t.at = e.order.PushBack(t)
	e.fields += t.cost()
	d.exporters.fields += t.cost()
	return old == nil
}

// makeRoom drops what is over the limits once a template of that cost comes to e.
func (d *Decoder) makeRoom(e *exporter, cost int) {
	if len(e.templates) >= d.cfg.MaxTemplates {
		d.dropOldest(e)
	}
	for d.exporters.fields+cost > d.cfg.MaxFields {
		other := d.exporters.last
		if other == e {
			other = e.prev
		}
		if other == nil {
			break
		}
		d.counts[exportersEvicted]++
		d.forget(other)
	}
	for d.exporters.fields+cost > d.cfg.MaxFields && len(e.templates) > 0 {
		d.dropOldest(e)
	}
}

// dropOldest drops the template that was not defined for longest.
func (d *Decoder) dropOldest(e *exporter) {
	d.drop(e, e.order.Front().Value.(*template))
	d.counts[templatesEvicted]++
}

// withdraw forgets a template (RFC 7011 section 8.1). The id of the set itself
// means all templates of its kind.
func (d *Decoder) withdraw(e *exporter, port uint16, def definition) {
	d.counts[templatesWithdrawn]++
	if def.id >= 256 {
		if one := e.template(def.id, port); one != nil {
			d.drop(e, one)
		}
		return
	}
	for _, t := range e.templates {
		if t.options == def.options && t.port == port {
			d.drop(e, t)
		}
	}
}

func (d *Decoder) drop(e *exporter, t *template) {
	delete(e.templates, t.key)
	e.order.Remove(t.at)
	e.fields -= t.cost()
	d.exporters.fields -= t.cost()
}
