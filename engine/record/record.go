// Package record turns what the engines saw into the events that leave them.
package record

import (
	"net/netip"
	"slices"
	"time"

	"vft/capture/flow"
	"vft/event"
	"vft/ipproto"
)

// Writer gives every event that leaves an engine its id and host. One goroutine
// uses it at a time.
type Writer struct {
	ids  *event.IDs
	host string
	emit event.Emit
}

// NewWriter returns a Writer that hands events on to emit.
func NewWriter(seed [32]byte, host string, emit event.Emit) *Writer {
	return &Writer{event.NewIDs(seed), host, emit}
}

// Write hands an event on; an id or host that it has already stays.
func (w *Writer) Write(e event.Event) {
	if e.ID.IsZero() {
		e.ID = w.ids.Next(e.Time)
	}
	if e.Host == "" {
		e.Host = w.host
	}
	w.emit(e)
}

// Tick tells whoever takes the events that it is now.
func (w *Writer) Tick(now time.Time) { w.emit(event.Event{Time: now.UTC()}) }

// Find returns what takes findings and hands them on as events.
func Find(emit event.Emit) event.Find {
	return func(f *event.Finding) {
		found := *f
		found.Victims, found.Sources, found.Ports = slices.Clone(f.Victims), slices.Clone(f.Sources), slices.Clone(f.Ports)
		e := event.Event{Time: f.Time, Dataset: event.DatasetThreat, Src: f.Src, Dst: f.Dst, Transport: f.Transport, Evidence: f.Evidence, Finding: &found}
		if f.Anomaly != nil {
			e.Dataset = event.DatasetAnomaly
		}
		emit(e)
	}
}

// Fires reports whether an event says that a detector began to fire.
func Fires(e *event.Event) bool {
	return e.Anomaly != nil && e.Anomaly.State == event.Firing || e.Threat != nil && e.Threat.State == event.Firing
}

// Flow is a flow as an event.
func Flow(r *flow.Record) event.Event {
	return event.Event{
		Time: time.Unix(0, r.Last).UTC(), Dataset: event.DatasetFlow, Transport: ipproto.Name(r.Proto),
		Src: netip.AddrPortFrom(r.Src.Netip(), r.SrcPort), Dst: netip.AddrPortFrom(r.Dst.Netip(), r.DstPort),
		Flow: &event.Flow{
			Bytes: r.Bytes(), Packets: r.Packets(), SrcBytes: r.Fwd.Bytes, SrcPackets: r.Fwd.Packets,
			DstBytes: r.Rev.Bytes, DstPackets: r.Rev.Packets, Payload: r.Fwd.Payload + r.Rev.Payload,
			Start: time.Unix(0, r.First).UTC(), End: time.Unix(0, r.Last).UTC(),
			TCPFlags: uint8(r.Fwd.Flags | r.Rev.Flags), Ended: r.End.String(),
		},
	}
}

// ExportedFlow is a flow that an exporter sent, as an event.
func ExportedFlow(r *flow.Record) event.Event {
	e := Flow(r)
	f, rate := e.Flow, uint64(max(r.Export.Sampling, 1))
	f.Ended, f.Exporter, f.Version, f.Sampling = "", r.Export.Exporter.String(), r.Export.Version.String(), r.Export.Sampling
	f.SampledPackets, f.SampledBytes = f.Packets/rate, f.Bytes/rate
	return e
}
