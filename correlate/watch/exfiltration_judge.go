package watch

import (
	"net/netip"
	"time"

	"vft/event"
)

// judge tells of a pair that is above a limit, and again while it carries more.
func (x *Exfiltration) judge(p *pair, g *profile, now int64) {
	if p.told != 0 && now-p.told < repeatEvery {
		return
	}
	over := x.above(p, g, now)
	if over.window == 0 {
		return
	}
	if p.told == 0 {
		if x.begun >= x.cfg.Episodes {
			x.count.suppressed++
			return
		}
		x.begun++
		x.count.episodes++
	}
	p.told = max(now, 1)
	x.tell(p, g, &over, now)
}

func (x *Exfiltration) tell(p *pair, g *profile, over *excess, now int64) {
	src, dst := p.key.src.Netip(), p.key.dst.Netip()
	f := event.Finding{
		Type: "exfiltration", Sensor: over.sensor, Key: dst.String(), Time: utc(now), Since: utc(max(p.first, now-int64(over.window))),
		Memory: exfiltrationMemory, Offender: src, Victims: []netip.Addr{dst}, Src: ends(src, 0), Dst: ends(dst, 0),
		Value: float64(over.bytes), Threshold: float64(over.limit), Unit: "bytes", Window: over.window, Count: 1, Severity: over.severity,
		Details: []event.Detail{{Name: "destination", Value: dst.String()}, {Name: "bytes", Value: over.bytes}, {Name: "bytes_back", Value: over.back}},
	}
	if over.back > 0 { // there was a dialogue
		f.Evidence = event.E1
	}
	if usual := float64(g.usual); usual > 0 {
		f.Usual = &usual
	}
	switch age := time.Duration(now - p.first); {
	case age < 24*time.Hour:
		f.Details = append(f.Details, event.Detail{Name: "first_seen", Value: "today"})
	case age < 7*24*time.Hour:
		f.Details = append(f.Details, event.Detail{Name: "first_seen", Value: utc(p.first).Format(time.DateOnly)})
	}
	x.find(&f)
}

// exfiltrationMemory is how long after a pair has carried something it counts as over.
const exfiltrationMemory = 24 * time.Hour

// excess is how a pair is above a limit.
type excess struct {
	sensor             string
	bytes, back, limit uint64
	window             time.Duration // 0: it is not
	severity           int
}

// What it weighs. Much in a short time may be a backup as well: only where enough is
// known of the host is a new destination more than a lead.
const (
	severitySlow    = 60
	severityNew     = 50 // to a destination that is new to a host known for a day
	severityNewSoon = 40 // to one known for less
	severityMuch    = 35
)

// minUpload is how long an upload must last that somebody should look at.
const minUpload = 15 * time.Second

// above returns how a pair is above a limit, the strongest first.
func (x *Exfiltration) above(p *pair, g *profile, now int64) excess {
	day, week := p.out.day(), p.out.week()
	dayBack, weekBack := p.back.day(), p.back.week()
	tooMuch := func(out, back, limit, usual uint64) bool {
		return limit > 0 && out >= limit && float64(out) >= x.cfg.Share*float64(back) && out > 2*usual
	}
	overDay, overWeek := tooMuch(day, dayBack, x.cfg.Day, g.usual), tooMuch(week, weekBack, x.cfg.Week, 7*g.usual)
	slow := excess{"slow-exfiltration", day, dayBack, x.cfg.Day, 24 * time.Hour, severitySlow}
	slowWeek := excess{"slow-exfiltration", week, weekBack, x.cfg.Week, 7 * 24 * time.Hour, severitySlow}
	recent, recentBack := p.out.recent(x.hour), p.back.recent(x.hour)
	enough, known := g.knows(p.first)
	lasted := time.Duration(now - p.first)
	if p.asked > p.given { // the destination fetches it from a service
		slow.severity, slowWeek.severity = severityMuch, severityMuch
		switch {
		case overDay && p.out.slow(false):
			return slow
		case overWeek && p.out.slow(true):
			return slowWeek
		}
		return excess{}
	}
	switch {
	case overDay && p.out.slow(false):
		return slow
	case overWeek && p.out.slow(true):
		return slowWeek
	case enough && lasted >= minUpload && lasted < 2*time.Hour && tooMuch(recent, recentBack, x.cfg.Burst, g.usual):
		upload := excess{"new-destination", recent, recentBack, x.cfg.Burst, lasted, severityNewSoon}
		if known {
			upload.severity = severityNew
		}
		return upload
	case overDay:
		slow.severity = severityMuch
		return slow
	case overWeek:
		slowWeek.severity = severityMuch
		return slowWeek
	}
	return excess{}
}
