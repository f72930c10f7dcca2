package export

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"vft/capture/flow"
	"vft/capture/packet"
)

// State is what a Decoder knows of its exporters that they tell only now and
// then: it is kept over a restart, so that the first data can be decoded. It can
// be written as JSON.
type State struct {
	Exporters []ExporterState `json:"exporters"`
}

// ExporterState is what is known of one exporter.
type ExporterState struct {
	Address   netip.Addr      `json:"address"`
	Domain    uint32          `json:"domain"`
	Version   string          `json:"version"`            // as flow.Version.String
	Sampling  uint32          `json:"sampling,omitempty"` // of the exporter as a whole
	Samplers  []SamplerState  `json:"samplers,omitempty"`
	Started   uint64          `json:"started,omitempty"` // milliseconds since 1970
	Templates []TemplateState `json:"templates,omitempty"`
}

// SamplerState is a sampling rate that holds for some records.
type SamplerState struct {
	Scope string `json:"scope"` // "selector", "template" or "interface"
	ID    uint64 `json:"id"`
	Rate  uint32 `json:"rate"`
}

// TemplateState is a template as the exporter sent it.
type TemplateState struct {
	Port    uint16 `json:"port"` // that it came from
	Options bool   `json:"options,omitempty"`
	Record  []byte `json:"record"` // the template record, from its id on
	Defined int64  `json:"defined"`
}

// scopeNames are the words of SamplerState.Scope.
var scopeNames = map[slot]string{selector: "selector", forTemplate: "template", ofInterface: "interface"}

// Save returns the state, exporters that were heard last at its end.
func (d *Decoder) Save() State {
	state := State{Exporters: []ExporterState{}}
	for e := d.exporters.last; e != nil; e = e.prev {
		if len(e.templates) > 0 || e.sampling.general != 0 || len(e.sampling.some) > 0 || e.started != 0 {
			state.Exporters = append(state.Exporters, e.save())
		}
	}
	return state
}

func (e *exporter) save() ExporterState {
	s := ExporterState{Address: e.addr.Netip(), Domain: e.domain, Version: e.version.String(), Sampling: e.sampling.general, Started: e.started}
	for _, one := range e.sampling.some {
		s.Samplers = append(s.Samplers, SamplerState{scopeNames[one.scope], one.id, one.rate})
	}
	for t := range maps.Values(e.templates) {
		s.Templates = append(s.Templates, TemplateState{t.port, t.options, t.raw, t.defined})
	}
	slices.SortFunc(s.Templates, func(a, b TemplateState) int { // those of one port behind those of every port
		return cmp.Or(cmp.Compare(a.Defined, b.Defined), bytes.Compare(a.Record, b.Record))
	})
	return s
}

// Restore takes a state of Save, at the start. The state is checked like bytes
// from the network, and the limits of Config hold. What is not sound is left out
// and learned again; the error says how much that is.
func (d *Decoder) Restore(state State) error {
	wrong := 0
	var first error
	for _, s := range state.Exporters {
		if err := d.restore(s); err != nil {
			wrong++
			if first == nil {
				first = err
			}
		}
	}
	if wrong == 0 {
		return nil
	}
	return fmt.Errorf("cannot use all that was kept of %d of %d exporters: %w; it is learned again", wrong, len(state.Exporters), first)
}

// restore takes what was kept of one exporter, and returns what was wrong first.
func (d *Decoder) restore(s ExporterState) error {
	version, known := versionOf(s.Version)
	if !s.Address.IsValid() || !known {
		return fmt.Errorf("no exporter %v of version %q", s.Address, s.Version)
	}
	key := exporterKey{addr: packet.AddrFrom(s.Address), domain: s.Domain, version: version}
	if d.exporters.byKey[key] != nil {
		return fmt.Errorf("exporter %v, domain %d, is there twice", s.Address, s.Domain)
	}
	e := d.known(key, 0)
	e.datagrams = 0
	e.sampling.general, e.started = s.Sampling, s.Started
	var wrong error
	for _, one := range s.Samplers {
		if !e.restoreSampler(one) {
			wrong = fmt.Errorf("exporter %v: no sampler of %q", s.Address, one.Scope)
		}
	}
	for _, one := range s.Templates {
		if !d.restoreTemplate(e, one) {
			wrong = fmt.Errorf("exporter %v: no template is %x", s.Address, one.Record[:min(len(one.Record), 8)])
		}
	}
	return wrong
}

func versionOf(name string) (flow.Version, bool) {
	for v := flow.NetFlow1; v <= flow.SFlow5; v++ {
		if v.String() == name {
			return v, true
		}
	}
	return 0, false
}

func (e *exporter) restoreSampler(s SamplerState) bool {
	for scope, name := range scopeNames {
		if name == s.Scope && s.Rate != 0 {
			e.sampling.learn(sampler{scope, s.ID, s.Rate})
			return true
		}
	}
	return false
}

func (d *Decoder) restoreTemplate(e *exporter, s TemplateState) bool {
	if e.version != flow.NetFlow9 && e.version != flow.IPFIX {
		return false
	}
	def, ok := define(e.version, s.Options, s.Record)
	if !ok || len(def.raw) != len(s.Record) {
		return false
	}
	d.learn(e, s.Port, def, s.Defined)
	return e.template(def.id, s.Port) != nil
}
