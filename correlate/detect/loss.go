package detect

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"vft/event"
)

// Loss: what was on the wire and did not get to be looked at. More than one in a
// hundred over a minute is told, once for each observer and kind, until a minute has
// passed without (Zeek's capture-loss, with its 5 % made 1 %).
const (
	lossShare    = 0.01
	lossLeast    = 10 // fewer lost say nothing, whatever their share
	lossWindow   = time.Minute
	lossQuiet    = 60 * second
	maxLosses    = 1 << 10 // observers and kinds at once; those beyond are told as one
	maxOpen      = 32      // episodes at once; those beyond are told as one
	severityLoss = 40
)

// Kinds of loss. Others may be told too.
const (
	KernelDrops      = "kernel_drops"      // packets or datagrams that the kernel had no room for
	SequenceGaps     = "sequence_gaps"     // what an exporter numbered and what never came
	MissingTemplates = "missing_templates" // records that could not be read, as their template had not come
)

// Losses tells when a capture, a collector or an exporter loses more than one in a
// hundred: a threat of type capture_loss. One goroutine owns it.
type Losses struct {
	emit   event.Emit
	ids    *event.IDs
	off    bool
	clock  int64
	all    map[lossKey]*loss
	order  []lossKey // as they came
	open   int       // of them, with an episode; the one of the rest besides
	fired  uint64
	folded uint64
}

// theRest stands for the observers for which there is no room. Whoever forges
// exporters makes losses of each.
const theRest = "many exporters"

type lossKey struct{ observer, kind string }

// loss is what one observer lost in one way, in the half-window that runs and in the
// one before.
type loss struct {
	begin      int64
	now, then  tally
	sum        tally // of the episode
	bad        int64 // when the share was too large last
	wrote      int64
	changed    bool
	share      float64 // the largest of the episode
	open       *event.Threat
	lastReport int64
}

// tally is what came and what did not.
type tally struct{ seen, lost uint64 }

func (t tally) plus(o tally) tally { return tally{t.seen + o.seen, t.lost + o.lost} }

func (t tally) share() float64 { return float64(t.lost) / float64(max(t.seen+t.lost, 1)) }

// NewLosses returns Losses that know of none. Of cfg it takes Seed, Off and Emit; the
// sensor that may be off is capture_loss.
func NewLosses(cfg Config) *Losses {
	return &Losses{emit: cfg.Emit, ids: event.NewIDs(cfg.Seed), off: cfg.Emit == nil || slices.Contains(cfg.Off, "capture_loss"), all: map[lossKey]*loss{}}
}

// Loss tells how much an observer (an interface, a socket, an exporter) saw since it
// was asked last, and how much it lost besides: packets, datagrams or records. To be
// called at intervals of some seconds, also when nothing was lost.
func (l *Losses) Loss(observer, kind string, seen, lost uint64, now int64) {
	l.clock = max(l.clock, now)
	if l.off || seen == 0 && lost == 0 {
		return
	}
	key := lossKey{observer, kind}
	v := l.all[key]
	if v == nil {
		if lost == 0 {
			return // nothing is kept of those that lose nothing
		}
		if len(l.all) >= maxLosses && observer != theRest {
			l.fold(kind, seen, lost, now)
			return
		}
		v = &loss{begin: l.clock}
		l.all[key] = v
		l.order = append(l.order, key)
	}
	v.add(tally{seen, lost}, l.clock)
	l.judge(key, v)
}

func (v *loss) add(t tally, now int64) {
	const half = int64(lossWindow) / 2
	switch age := now - v.begin; {
	case age >= 2*half:
		v.begin, v.now, v.then = now, tally{}, tally{}
	case age >= half:
		v.begin, v.now, v.then = v.begin+half, tally{}, v.now
	}
	v.now = v.now.plus(t)
	v.lastReport = now
	if v.open != nil {
		v.sum = v.sum.plus(t)
		v.changed = v.changed || t.lost > 0
	}
}

func (l *Losses) judge(key lossKey, v *loss) {
	recent := v.now.plus(v.then)
	share := recent.share()
	if share <= lossShare || recent.lost < lossLeast {
		return
	}
	v.bad, v.share = l.clock, max(v.share, share)
	if v.open != nil {
		return
	}
	if key.observer != theRest {
		if l.open >= maxOpen {
			l.fold(key.kind, recent.seen, recent.lost, l.clock)
			v.now, v.then = tally{}, tally{}
			return
		}
		l.open++
	}
	l.fired++
	v.sum = recent
	v.open = &event.Threat{Type: "capture_loss", Observer: key.observer, Sensor: "capture_loss", Severity: severityLoss, Start: time.Unix(0, v.begin).UTC()}
	l.write(key, v, event.Firing)
}

// fold counts what an observer lost among that of the others without a name.
func (l *Losses) fold(kind string, seen, lost uint64, now int64) {
	l.folded++
	l.Loss(theRest, kind, seen, lost, now)
}

// Advance tells that it is now: what is quiet is resolved, what changed is updated,
// every ten seconds at most.
func (l *Losses) Advance(now int64) {
	l.clock = max(l.clock, now)
	keep := l.order[:0]
	for _, key := range l.order {
		v := l.all[key]
		switch {
		case v.open != nil && l.clock-v.bad > lossQuiet:
			l.write(key, v, event.Resolved)
			if v.open, v.share = nil, 0; key.observer != theRest {
				l.open--
			}
		case v.open != nil && v.changed && l.clock-v.wrote >= updateEvery:
			l.write(key, v, event.Updated)
		}
		if v.open == nil && l.clock-v.lastReport > int64(lossWindow) {
			delete(l.all, key)
			continue
		}
		keep = append(keep, key)
	}
	l.order = keep
}

// Close resolves what is open.
func (l *Losses) Close() {
	for _, key := range l.order {
		if v := l.all[key]; v.open != nil {
			l.write(key, v, event.Resolved)
		}
	}
	l.all, l.order, l.open = map[lossKey]*loss{}, nil, 0
}

func (l *Losses) write(key lossKey, v *loss, state event.AlertState) {
	v.wrote, v.changed = l.clock, false
	at := time.Unix(0, l.clock).UTC()
	e := event.Event{ID: l.ids.Next(at), Time: at, Dataset: event.DatasetThreat}
	v.open.Episode = cmp.Or(v.open.Episode, e.ID.String())
	t := *v.open
	t.State, t.End = state, time.Unix(0, v.bad).UTC()
	t.Details = map[string]any{
		"kind": key.kind, "seen": v.sum.seen, "lost": v.sum.lost, "value": v.share, "threshold": lossShare, "window_s": lossWindow.Seconds(),
	}
	if key.observer == theRest {
		t.Observer, t.Details["folded"] = "", true
	}
	e.Threat = &t
	e.Message = fmt.Sprintf("capture_loss (%s) at %s: %s %% lost, threshold %s %%", key.kind, cmp.Or(key.observer, "the capture"), number(100*v.share), number(100*lossShare))
	l.emit(e)
}

// Counts calls yield for every counter.
func (l *Losses) Counts(yield func(name string, value uint64)) {
	yield("capture_losses_fired", l.fired)
	yield("capture_losses_folded", l.folded)
}
