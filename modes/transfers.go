package modes

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"vft/capture/flow"
	"vft/correlate/watch"
	"vft/event"
)

// transfers watch how much hosts give each other: in an interval against those
// before, in a day and a week, and in an hour against the same hour of earlier
// weeks.
type transfers struct {
	recent *watch.Transfer
	leaks  *watch.Exfiltration
	hours  *watch.WeeklyTransfer
}

// newTransfers builds the three, which feed each other.
func newTransfers(c watch.TransferConfig, home []netip.Prefix, random [32]byte, emit event.Emit) (*transfers, error) {
	t := &transfers{}
	slow, hours := watch.DefaultExfiltrationConfig(), watch.DefaultWeeklyTransferConfig()
	slow.Seed, hours.Seed = part(random, 4), part(random, 9)
	if len(home) > 0 {
		slow.Local = func(a netip.Addr) bool {
			return slices.ContainsFunc(home, func(p netip.Prefix) bool { return p.Contains(a) })
		}
	}
	var err error
	if t.leaks, err = watch.NewExfiltration(slow, emit); err != nil {
		return nil, err
	}
	if t.hours, err = watch.NewWeeklyTransfer(hours, emit); err != nil {
		return nil, err
	}
	if c.Carried == nil {
		c.Carried = t.carried
	}
	t.recent, err = watch.NewTransfer(c, emit)
	return t, err
}

// carried takes what a flow gave since it was last shown.
func (t *transfers) carried(key *flow.Key, forth, back uint64, now int64) {
	t.leaks.Carried(key, forth, back, now)
	t.hours.Carried(key, forth, back, now)
}

// advance closes the intervals up to now.
func (t *transfers) advance(now int64) {
	t.recent.Advance(now)
	t.leaks.Advance(now)
	t.hours.Advance(now)
}

// transfersState is what the transfers keep from one run to the next.
type transfersState struct {
	Exfiltration *watch.ExfiltrationState   `json:"exfiltration,omitempty"`
	Hours        *watch.WeeklyTransferState `json:"hours,omitempty"`
}

func (t *transfers) save() transfersState {
	leaks, hours := t.leaks.Save(), t.hours.Save()
	return transfersState{&leaks, &hours}
}

func (t *transfers) restore(s transfersState) (err error) {
	if s.Exfiltration != nil {
		err = t.leaks.Restore(*s.Exfiltration)
	}
	if s.Hours != nil {
		err = errors.Join(err, t.hours.Restore(*s.Hours))
	}
	return err
}

// exportedTransfers watch how much hosts give each other by what exporters tell.
type exportedTransfers struct {
	*transfers
	pairs *watch.Exported
	clock int64
}

func newExportedTransfers(home []netip.Prefix, random [32]byte, emit event.Emit) (*exportedTransfers, error) {
	out := &exportedTransfers{}
	c := watch.DefaultExportedConfig()
	c.Seed = part(random, 2)
	c.Carried = func(key *flow.Key, forth, back uint64, end int64) { // of an interval, which may not be over at the end of a run
		out.leaks.Carried(key, forth, back, min(end, out.clock))
	}
	var err error
	if out.transfers, err = newTransfers(c, home, random, emit); err != nil {
		return nil, err
	}
	out.pairs = watch.NewExported(out.recent)
	return out, nil
}

// flow takes each direction of each flow once.
func (t *exportedTransfers) flow(r *flow.Record) {
	t.pairs.Flow(r)
	t.hours.Flow(r) // by its own times
}

func (t *exportedTransfers) advance(now int64) {
	t.clock = now
	t.pairs.Advance(now)
	t.leaks.Advance(now)
	t.hours.Advance(now)
}

// close ends what is open.
func (t *exportedTransfers) close() {
	t.pairs.Flush()
	t.hours.Flush()
}

func (t *exportedTransfers) counts(yield func(name string, value uint64)) {
	t.pairs.Counts(func(name string, value uint64) {
		if !strings.HasPrefix(name, "exported_") {
			name = "transfer_" + name
		}
		yield(name, value)
	})
	t.leaks.Counts(yield)
	t.hours.Counts(yield)
}
