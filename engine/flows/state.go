package flows

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/google/renameio/v2/maybe"

	"vft/capture/export"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/correlate/detect"
	"vft/correlate/watch"
)

// knownExporters is what collectors keep from one run to the next: templates,
// which exporters send only now and then, and what the detections learned.
type knownExporters struct {
	Exporters  []export.ExporterState `json:"exporters"`
	Detections *detect.State          `json:"detections,omitempty"`
	watch.TransfersState
}

// keepEvery is how often what the exporters told is written down.
const keepEvery = 5 * time.Minute

// restore lets every worker know the exporters of an earlier run: which of them
// hears which may have changed.
func (c *Collector) restore() {
	text, err := os.ReadFile(c.state)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var known knownExporters
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err == nil {
		err = c.restoreState(known)
	}
	if err != nil {
		c.log.Warn().Msgf("what the exporters told an earlier run is not used wholly: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// restoreState takes what was kept. What is damaged of it does not keep it from the rest.
func (c *Collector) restoreState(known knownExporters) (err error) {
	for _, w := range c.workers {
		err = errors.Join(err, w.decoder.Restore(export.State{Exporters: known.Exporters}))
	}
	if known.Detections != nil {
		err = errors.Join(err, c.to.detect.Restore(*known.Detections))
	}
	return errors.Join(err, c.to.moves.Restore(known.TransfersState))
}

// save writes down what the workers noted last.
func (c *Collector) save() {
	c.to.mu.Lock()
	detections := c.to.detect.Save()
	known := knownExporters{merged(c.workers), &detections, c.to.moves.Save()}
	c.to.mu.Unlock()
	text, err := json.Marshal(known)
	if err == nil {
		err = maybe.WriteFile(c.state, append(text, '\n'), 0o600)
	}
	if err != nil {
		c.log.Warn().Err(err).Msg("what the exporters told is not kept; after a restart their data wait for templates")
	}
}

// merged is what all workers know; of an exporter that several know, what the
// one knows that hears it.
func merged(workers []*worker) (all []export.ExporterState) {
	type key struct {
		address netip.Addr
		domain  uint32
		version string
	}
	at := map[key]int{}
	for _, w := range workers {
		for _, e := range w.known.Exporters {
			k := key{e.Address, e.Domain, e.Version}
			if i, twice := at[k]; !twice {
				at[k] = len(all)
				all = append(all, e)
			} else if w.hears(e.Address) {
				all[i] = e
			}
		}
	}
	return all
}

// hears reports whether datagrams of an exporter came to this worker.
func (w *worker) hears(exporter netip.Addr) bool {
	for key, e := range w.seen {
		if key.address == packet.AddrFrom(exporter) && e.Datagrams > 0 {
			return true
		}
	}
	return false
}

// saveOften saves until ctx ends.
func (c *Collector) saveOften(ctx context.Context) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.save()
		}
	}
}

// exporterKey tells exporters of one worker apart.
type exporterKey struct {
	address, agent packet.Addr
	domain         uint32
	version        flow.Version
}

// checkpoint is what a worker does every few seconds: it notes what its exporters
// told, and what of their data did not come.
func (w *worker) checkpoint(now int64) {
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	w.tally.Take(w.decoder.Counts)
	w.known = w.decoder.Save()
	seen := make(map[exporterKey]export.Exporter, len(w.seen))
	for e := range w.decoder.Exporters() {
		key := exporterKey{e.Address, e.Agent, e.Domain, e.Version}
		before := w.seen[key]
		seen[key] = e
		who := e.Address.Netip().String()
		w.to.losses.Loss(who, detect.SequenceGaps, increase(e.Sent, before.Sent), increase(e.Lost, before.Lost), now)
		w.to.losses.Loss(who, detect.MissingTemplates, increase(e.Records, before.Records), increase(e.Missing, before.Missing), now)
	}
	w.seen = seen
	w.to.losses.Advance(now)
}

// increase is by how much a counter grew; it is smaller than before when it began
// anew, or when what was missing came late.
func increase(now, before uint64) uint64 { return now - min(now, before) }
