package incident

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"time"

	"vft/event"
)

// write emits the state of an incident.
func (r *Room) write(i *incident, at time.Time, state event.AlertState, reason string) {
	switch state {
	case event.Firing:
		r.counts.Raised++
	case event.Updated:
		r.counts.Updated++
		if reason == "more of it" {
			i.Told++
		}
	case event.Resolved:
		r.counts.Resolved++
	}
	i.Changed, i.Written = false, later(r.clock, at)
	if o := r.overflow[i.Overflow]; o != nil {
		i.Sources = o.heaviest()
	}
	alert := r.alert(i, state, reason)
	ev := event.Event{
		ID: r.ids.Next(at), Time: at.UTC(), Dataset: event.DatasetAlert, Evidence: i.Evidence,
		Message: i.sentence(&alert), Alert: &alert,
	}
	if len(alert.Clients) == 1 {
		ev.Client = alert.Clients[0]
	}
	if i.strongest != nil {
		ev.Process = i.strongest.Process
	}
	r.emit(ev)
}

// alert is a copy of an incident for others.
func (r *Room) alert(i *incident, state event.AlertState, reason string) event.Alert {
	a := event.Alert{
		ID: i.ID, State: state, Kind: i.Kind, Key: i.Key, Severity: i.Rank.severity(), Start: i.Start, End: i.End,
		Count: i.Count, Clients: slices.Clone(i.Clients), Sources: i.heaviest(maxListed), Ports: slices.Clone(i.Ports),
		Victims: slices.Clone(i.Victims), Evidence: i.Evidence, Reason: reason, Events: slices.Clone(i.Events),
	}
	if s := i.strongest; s != nil {
		a.Rule, a.Name, a.Description, a.Technique = s.Type, titleOf(&s.Finding), s.Description, techniqueOf(&s.Finding)
	}
	findings := slices.Clone(i.Findings)
	slices.SortStableFunc(findings, func(x, y *finding) int {
		switch {
		case x == i.strongest:
			return -1
		case y == i.strongest:
			return 1
		}
		return cmp.Compare(y.Rank, x.Rank)
	})
	for _, t := range findings {
		a.Rules = append(a.Rules, event.Match{
			ID: t.Type, Value: t.Value, Threshold: t.Threshold, Unit: t.Unit, Window: t.Window, Since: t.Begun, Message: t.sentence(),
		})
		if !t.Rule {
			a.Findings = append(a.Findings, t.ID)
		}
	}
	return a
}

// heaviest lists the sources by their weight.
func (i *incident) heaviest(most int) (all []netip.Addr) {
	sources := slices.Clone(i.Sources)
	slices.SortStableFunc(sources, func(a, b weight) int { return cmp.Compare(b.N, a.N) })
	for _, s := range sources[:min(len(sources), most)] {
		all = append(all, s.Addr)
	}
	return all
}

// tellFindings writes those findings of an incident that nobody was told of, or
// that got worse.
func (r *Room) tellFindings(i *incident) {
	for _, t := range i.Findings {
		switch severity := t.Rank.severity(); {
		case t.Rule || t.Ended:
		case t.Told == 0:
			t.Told = severity + 1
			r.counts.Findings++
			r.writeFinding(i, t, t.Time, event.Firing, "")
		case severity >= t.Told:
			t.Told = severity + 1
			r.writeFinding(i, t, r.clock, event.Updated, "")
		}
	}
}

// endFindings ends those findings of which nothing was seen for as long as their
// detector remembers.
func (r *Room) endFindings(i *incident) {
	for _, t := range i.Findings {
		if !t.Ended && t.Memory >= 0 && r.clock.Sub(t.Touched) >= t.Memory && !t.Rule {
			r.end(i, t, r.clock)
		}
	}
}

// end ends the life of a finding.
func (r *Room) end(i *incident, t *finding, at time.Time) {
	if t.Ended {
		return
	}
	t.Ended = true
	if t.Rule || i.isHeld() {
		return
	}
	if t.Told == 0 {
		r.counts.Findings++
		r.writeFinding(i, t, t.Time, event.Firing, "")
	}
	t.Told = 0
	r.counts.FindingsResolved++
	r.writeFinding(i, t, at, event.Resolved, "")
}

// writeFinding emits the state of a finding, as vft.anomaly when it is of a
// statistic or a flow that left its usual range, else as vft.threat.
func (r *Room) writeFinding(i *incident, t *finding, at time.Time, state event.AlertState, reason string) {
	ev := event.Event{
		ID: r.ids.Next(at), Time: at.UTC(), Client: t.Client, Src: t.Src, Dst: t.Dst, Transport: t.Transport,
		Evidence: t.Evidence, Process: t.Process, Message: t.sentence(),
	}
	if state == event.Resolved {
		ev.Message += "; over now"
	}
	if t.Anomaly != nil {
		if state == event.Updated {
			return
		}
		a := *t.Anomaly
		a.State, a.Episode, a.Incident, a.Severity = state, t.ID, i.ID, t.Rank.severity()
		a.Start, a.End, a.Count = t.Begun.UTC(), t.Time.UTC(), t.Count
		a.Reason = cmp.Or(reason, a.Reason)
		if state == event.Firing {
			a.Reason = ""
		}
		ev.Dataset, ev.Anomaly = event.DatasetAnomaly, &a
		r.emit(ev)
		return
	}
	ev.Dataset = event.DatasetThreat
	ev.Threat = &event.Threat{
		Type: t.Type, Observer: t.Observer, Offender: t.offender(), Sensor: cmp.Or(t.Sensor, t.Type), State: state, Episode: t.ID, Incident: i.ID,
		Severity: t.Rank.severity(), Start: t.Begun.UTC(), End: t.Time.UTC(), Details: t.details(),
	}
	if t.Offender.IsValid() && !t.Many && !ev.Src.IsValid() {
		ev.Src = netip.AddrPortFrom(t.Offender, 0)
	}
	if len(t.Hosts) == 1 && !ev.Dst.IsValid() {
		port := uint16(0)
		if len(t.Ports) == 1 {
			port = t.Ports[0]
		}
		ev.Dst = netip.AddrPortFrom(t.Hosts[0], port)
	}
	r.emit(ev)
}

func (t *finding) offender() string {
	switch {
	case t.Many:
		return ""
	case t.Offender.IsValid():
		return t.Offender.String()
	}
	return t.Name
}

// details are vft.threat.details.
func (t *finding) details() map[string]any {
	hosts := make([]string, len(t.Hosts))
	for i, h := range t.Hosts {
		hosts[i] = h.String()
	}
	m := map[string]any{
		"count": t.Count, "value": t.Value, "threshold": t.Threshold, "window_s": t.Window.Seconds(),
		"attacked_hosts": hosts, "hosts": t.NHosts,
	}
	if len(t.Ports) > 0 {
		m["ports"] = slices.Sorted(slices.Values(t.Ports))
		m["distinct_ports"] = t.NPorts
	}
	for name, text := range map[string]string{"scan": t.Scan, "tool": t.Tool, "unit": t.Unit} {
		if text != "" {
			m[name] = text
		}
	}
	if t.Usual != nil {
		m["usual"] = *t.Usual
	}
	if t.Many {
		m["spoofed"] = true
	}
	for _, d := range t.Details {
		m[d.Name] = d.Value
	}
	return m
}

// canonical copies details so that what Snapshot keeps of them reads back the
// same: numbers as float64, lists as []any.
func canonical(details []event.Detail) []event.Detail {
	if len(details) == 0 {
		return nil
	}
	all := make([]event.Detail, len(details))
	for i, d := range details {
		all[i] = event.Detail{Name: d.Name, Value: plain(d.Value)}
	}
	return all
}

func plain(v any) any {
	switch v := v.(type) {
	case nil, string, bool:
		return v
	case float64:
		return finite(v)
	case float32:
		return finite(float64(v))
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint8:
		return float64(v)
	case uint16:
		return float64(v)
	case uint32:
		return float64(v)
	case uint64:
		return float64(v)
	case time.Duration:
		return v.Seconds()
	case []string:
		return plainList(v)
	case []uint16:
		return plainList(v)
	case []int:
		return plainList(v)
	case []float64:
		return plainList(v)
	case []netip.Addr:
		all := make([]any, len(v))
		for i, a := range v {
			all[i] = a.String()
		}
		return all
	case []any:
		return plainList(v)
	case map[string]any:
		all := make(map[string]any, len(v))
		for name, one := range v {
			all[name] = plain(one)
		}
		return all
	}
	return nil
}

func plainList[T any](list []T) []any {
	all := make([]any, len(list))
	for i, v := range list {
		all[i] = plain(v)
	}
	return all
}

func finite(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return max(-math.MaxFloat64, min(x, math.MaxFloat64))
}

// mergeDetails puts what was told last in the place of what was told before. It
// does not change known.
func mergeDetails(known, told []event.Detail) []event.Detail {
	merged, copied := known, false
	for _, d := range told {
		at := slices.IndexFunc(merged, func(k event.Detail) bool { return k.Name == d.Name })
		v := plain(d.Value)
		if at >= 0 && same(merged[at].Value, v) {
			continue
		}
		if !copied {
			merged, copied = slices.Clone(merged), true
		}
		if at >= 0 {
			merged[at].Value = v
		} else if len(merged) < event.MaxKeys {
			merged = append(merged, event.Detail{Name: d.Name, Value: v})
		}
	}
	return merged
}

// same reports whether two plain values are equal; of lists that is not known.
func same(a, b any) bool {
	switch a.(type) {
	case string, bool, float64:
		return a == b
	}
	return false
}

func cloneAnomaly(a *event.Anomaly) *event.Anomaly {
	if a == nil {
		return nil
	}
	c := *a
	c.Value, c.Threshold, c.Probability = finite(a.Value), finite(a.Threshold), finite(a.Probability)
	c.Series = slices.Clone(a.Series)
	return &c
}
