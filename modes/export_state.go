package modes

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/google/renameio/v2/maybe"

	"vft/capture/export"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/correlate/detect"
)

// knownExporters is what collectors keep from one run to the next: templates,
// which exporters send only now and then, and what the detections learned.
type knownExporters struct {
	Exporters  []export.ExporterState `json:"exporters"`
	Detections *detect.State          `json:"detections,omitempty"`
	transfersState
}

// keepEvery is how often what the exporters told is written down.
const keepEvery = 5 * time.Minute

// restore lets every intake know the exporters of an earlier run: which of them
// hears which may have changed.
func (c *collectors) restore() {
	text, err := os.ReadFile(c.state)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var known knownExporters
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err == nil {
		err = c.know(known)
	}
	if err != nil {
		c.log.Warn().Msgf("what the exporters told an earlier run is not used wholly: %s", oneLine(err))
	}
}

// know takes what was kept. What is damaged of it does not keep it from the rest.
func (c *collectors) know(known knownExporters) (err error) {
	for _, in := range c.intakes {
		err = errors.Join(err, in.decoder.Restore(export.State{Exporters: known.Exporters}))
	}
	if known.Detections != nil {
		err = errors.Join(err, c.exports.detect.Restore(*known.Detections))
	}
	return errors.Join(err, c.exports.moves.restore(known.transfersState))
}

// save writes down what the intakes noted last.
func (c *collectors) save() {
	c.exports.mu.Lock()
	detections := c.exports.detect.Save()
	known := knownExporters{merged(c.intakes), &detections, c.exports.moves.save()}
	c.exports.mu.Unlock()
	text, err := json.Marshal(known)
	if err == nil {
		err = maybe.WriteFile(c.state, append(text, '\n'), 0o600)
	}
	if err != nil {
		c.log.Warn().Err(err).Msg("what the exporters told is not kept; after a restart their data wait for templates")
	}
}

// merged is what all intakes know; of an exporter that several know, what the
// one knows that hears it.
func merged(intakes []*intake) (all []export.ExporterState) {
	type key struct {
		address netip.Addr
		domain  uint32
		version string
	}
	at := map[key]int{}
	for _, in := range intakes {
		for _, e := range in.known.Exporters {
			k := key{e.Address, e.Domain, e.Version}
			if i, twice := at[k]; !twice {
				at[k] = len(all)
				all = append(all, e)
			} else if in.hears(e.Address) {
				all[i] = e
			}
		}
	}
	return all
}

// hears reports whether datagrams of an exporter came to this intake.
func (in *intake) hears(exporter netip.Addr) bool {
	for key, e := range in.seen {
		if key.address == packet.AddrFrom(exporter) && e.Datagrams > 0 {
			return true
		}
	}
	return false
}

// saveOften saves until ctx ends.
func (c *collectors) saveOften(ctx context.Context) {
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

// exporterKey tells exporters of one intake apart.
type exporterKey struct {
	address, agent packet.Addr
	domain         uint32
	version        flow.Version
}

// look is what an intake does every few seconds: it notes what its exporters
// told, and what of their data did not come.
func (in *intake) look(now int64) {
	in.to.mu.Lock()
	defer in.to.mu.Unlock()
	in.known = in.decoder.Save()
	seen := make(map[exporterKey]export.Exporter, len(in.seen))
	for e := range in.decoder.Exporters() {
		key := exporterKey{e.Address, e.Agent, e.Domain, e.Version}
		before := in.seen[key]
		seen[key] = e
		who := e.Address.Netip().String()
		in.to.losses.Loss(who, detect.SequenceGaps, more(e.Sent, before.Sent), more(e.Lost, before.Lost), now)
		in.to.losses.Loss(who, detect.MissingTemplates, more(e.Records, before.Records), more(e.Missing, before.Missing), now)
	}
	in.seen = seen
	in.to.losses.Advance(now)
}

// more is by how much a counter grew; it is smaller than before when it began
// anew, or when what was missing came late.
func more(now, before uint64) uint64 { return now - min(now, before) }
