package flows

import (
	"net/netip"
	"slices"
	"time"

	"vft/capture/export"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/counters"
)

// worker decodes the datagrams of one socket, or of one replay. One goroutine
// owns it.
type worker struct {
	decoder *export.Decoder
	to      *Analyzer
	records []flow.Record
	due     int64                           // when checkpoint is called next
	known   export.State                    // as checkpoint found it; Analyzer.mu guards it
	seen    map[exporterKey]export.Exporter // the same
	tally   counters.Tally                  // of the decoder
}

// manyRecords is how many records may wait to be judged.
const manyRecords = 4096

func newWorker(s *Settings, to *Analyzer) *worker {
	w := &worker{to: to, decoder: export.NewDecoder(export.Config{
		MaxSkew: -1, // the times in a record are those that its exporter stated
		Sampling: func(exporter packet.Addr) uint32 {
			i := slices.IndexFunc(s.Sampling, func(r SamplingRate) bool { return packet.AddrFrom(r.Exporter) == exporter })
			if i < 0 {
				return 0
			}
			return s.Sampling[i].Rate
		},
	})}
	w.tally.Take(w.decoder.Counts)
	return w
}

// datagram decodes one datagram.
func (w *worker) datagram(from netip.AddrPort, payload []byte, now int64) {
	w.records = w.decoder.Datagram(from, payload, now, w.records)
	if len(w.records) >= manyRecords {
		w.flush(now)
	}
}

// tick hands over what a batch brought, and lets time pass for the rest.
func (w *worker) tick(now int64) {
	if len(w.records) > 0 {
		w.flush(now)
	} else {
		w.to.advance(now)
	}
	if now >= w.due {
		w.checkpoint(now)
		w.due = now + int64(checkpointEvery)
	}
}

// checkpointEvery is how often a worker looks at its exporters.
const checkpointEvery = 10 * time.Second

// flush hands over what was decoded.
func (w *worker) flush(now int64) {
	w.to.judge(w.records, now)
	w.records = w.records[:0]
}

// packet takes a packet of a capture, if it is a datagram of an exporter.
func (w *worker) packet(which *exportFilter, p *packet.Parsed, now int64) {
	if from, payload, ok := which.datagram(p); ok {
		w.datagram(from, payload, now)
		w.flush(now) // before the next packet is judged by others
	}
}

// counts yields what the decoder counted that is not zero.
func (w *worker) counts(yield func(name string, n uint64)) {
	w.decoder.Counts(func(name string, n uint64) {
		if n > 0 {
			yield(decoderCounter+name, n)
		}
	})
}

// decoderCounter is how the counters of decoders begin where others stand beside
// them.
const decoderCounter = "export_"

// exportPorts are where exporters usually send to.
var exportPorts = []uint16{2055, 2056, 4739, 6343, 9995, 9996}

// exportFilter tells which packets of a capture are exported flows.
type exportFilter struct {
	ports []uint16
	allow []netip.Prefix
}

func newExportFilter(s *Settings) exportFilter {
	f := exportFilter{allow: s.Exporters}
	for _, l := range s.Listen {
		f.ports = append(f.ports, l.Port())
	}
	if len(f.ports) == 0 {
		f.ports = exportPorts
	}
	return f
}

// datagram returns what an exporter sent in the packet p.
func (f *exportFilter) datagram(p *packet.Parsed) (from netip.AddrPort, payload []byte, ok bool) {
	if p.Transport != packet.UDP || !p.HasPorts || !slices.Contains(f.ports, p.DstPort) {
		return from, nil, false
	}
	from = netip.AddrPortFrom(p.Src.Netip(), p.SrcPort)
	if len(f.allow) > 0 && !slices.ContainsFunc(f.allow, func(n netip.Prefix) bool { return n.Contains(from.Addr()) }) {
		return from, nil, false
	}
	return from, p.Payload(), true
}
