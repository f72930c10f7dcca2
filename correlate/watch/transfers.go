package watch

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"vft/capture/flow"
	"vft/event"
)

// Transfers watch how much hosts give each other: in an interval against those
// before, in a day and a week, and in an hour against the same hour of earlier
// weeks. One goroutine uses it at a time. What they find goes through one event.Find.
type Transfers struct {
	recent *Transfer
	leaks  *Exfiltration
	hours  *WeeklyTransfer
}

// TransfersConfig says how Transfers watch.
type TransfersConfig struct {
	Transfer TransferConfig // Carried: nil, for captured flows
	// All: every transfer that the anomalyzer finds unusual is told. Otherwise only
	// what lasts, grows and goes to a destination outside that is new to its source.
	All        bool
	Home       []netip.Prefix // networks that are inside; empty: the private ones
	WeeklySeed [32]byte
}

// NewTransfers builds the three, which feed each other. It refuses a
// TransferConfig that does not validate.
func NewTransfers(c TransfersConfig, find event.Find) (*Transfers, error) {
	t := &Transfers{}
	slow, hours := DefaultExfiltrationConfig(), DefaultWeeklyTransferConfig()
	hours.Seed = c.WeeklySeed
	if len(c.Home) > 0 {
		slow.Local = func(a netip.Addr) bool {
			return slices.ContainsFunc(c.Home, func(p netip.Prefix) bool { return p.Contains(a) })
		}
	}
	var err error
	if t.leaks, err = NewExfiltration(slow, find); err != nil {
		return nil, err
	}
	if !c.All {
		c.Transfer = c.Transfer.Sustained()
		c.Transfer.Concerns = t.leaks.New
	}
	hours.Local = t.leaks.cfg.Local
	if t.hours, err = NewWeeklyTransfer(hours, find); err != nil {
		return nil, err
	}
	if c.Transfer.Carried == nil {
		c.Transfer.Carried = t.carried
	}
	t.recent, err = NewTransfer(c.Transfer, find)
	return t, err
}

// carried takes what a flow gave since it was last shown.
func (t *Transfers) carried(key *flow.Key, forth, back uint64, now int64) {
	t.leaks.Carried(key, forth, back, now)
	t.hours.Carried(key, forth, back, now)
}

// Flow takes the state of a flow: a live one, or one that ended.
func (t *Transfers) Flow(r *flow.Record) { t.recent.Flow(r) }

// Advance closes the intervals up to now.
func (t *Transfers) Advance(now int64) {
	t.recent.Advance(now)
	t.leaks.Advance(now)
	t.hours.Advance(now)
}

// Flush closes the open interval, at the end of a capture.
func (t *Transfers) Flush() { t.recent.Flush() }

// Counts yields every counter by its name.
func (t *Transfers) Counts(yield func(name string, n uint64)) {
	t.recent.Counts(transferNames(yield))
	t.leaks.Counts(yield)
	t.hours.Counts(yield)
}

// transferNames tells the counters of a Transfer from those of others.
func transferNames(yield func(name string, n uint64)) func(name string, n uint64) {
	return func(name string, n uint64) {
		if !strings.HasPrefix(name, "exported_") {
			name = "transfer_" + name
		}
		yield(name, n)
	}
}

// TransfersState is what Transfers keep from one run to the next.
type TransfersState struct {
	Exfiltration *ExfiltrationState   `json:"exfiltration,omitempty"`
	Hours        *WeeklyTransferState `json:"hours,omitempty"`
}

// Save returns a copy of what a later run goes on with.
func (t *Transfers) Save() TransfersState {
	leaks, hours := t.leaks.Save(), t.hours.Save()
	return TransfersState{&leaks, &hours}
}

// Restore goes on where Save left. What is damaged of a state does not keep the
// rest from being used.
func (t *Transfers) Restore(s TransfersState) (err error) {
	if s.Exfiltration != nil {
		err = t.leaks.Restore(*s.Exfiltration)
	}
	if s.Hours != nil {
		err = errors.Join(err, t.hours.Restore(*s.Hours))
	}
	return err
}

// ExportedTransfers are Transfers by what exporters tell.
type ExportedTransfers struct {
	*Transfers
	pairs *Exported
	clock int64
}

// NewExportedTransfers returns ExportedTransfers that have seen nothing. The
// TransferConfig is that of DefaultExportedConfig with the given seed.
func NewExportedTransfers(seed [32]byte, c TransfersConfig, find event.Find) (*ExportedTransfers, error) {
	out := &ExportedTransfers{}
	c.Transfer = DefaultExportedConfig()
	c.Transfer.Seed = seed
	c.Transfer.Carried = func(key *flow.Key, forth, back uint64, end int64) { // of an interval, which may not be over at the end of a run
		out.leaks.Carried(key, forth, back, min(end, out.clock))
	}
	var err error
	if out.Transfers, err = NewTransfers(c, find); err != nil {
		return nil, err
	}
	out.pairs = NewExported(out.recent)
	return out, nil
}

// Flow takes each direction of each flow once.
func (t *ExportedTransfers) Flow(r *flow.Record) {
	t.pairs.Flow(r)
	t.hours.Flow(r) // by its own times
}

// Advance tells that it is now, by the clock on which flows arrive.
func (t *ExportedTransfers) Advance(now int64) {
	t.clock = now
	t.pairs.Advance(now)
	t.leaks.Advance(now)
	t.hours.Advance(now)
}

// Close closes the open interval.
func (t *ExportedTransfers) Close() { t.pairs.Flush() }

// Counts yields every counter by its name.
func (t *ExportedTransfers) Counts(yield func(name string, n uint64)) {
	t.pairs.Counts(transferNames(yield))
	t.leaks.Counts(yield)
	t.hours.Counts(yield)
}
