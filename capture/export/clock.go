package export

import "vft/capture/flow"

// clock turns the times of one datagram into nanoseconds since 1970.
type clock struct {
	export int64  // when the exporter sent the datagram, by its own clock
	uptime uint32 // its milliseconds since it started, at that moment
	skew   int64  // added to all times
}

const (
	microsecond = 1_000
	millisecond = 1_000_000
	second      = 1_000_000_000

	// maxAhead is how far behind its datagram a flow may end: the header of many
	// exporters has whole seconds.
	maxAhead = 60 * second
	// maxDuration is the longest flow. Exporters report long ones every half hour;
	// what is longer was reset to no time at all.
	maxDuration = 31 * 24 * 3600 * second
	// never is a time beyond all that a field may state and that still can be
	// calculated with.
	never = 1 << 62
)

// clock makes the clock of a datagram that was sent at export and came at now.
// The correction of a wrong clock stays the same until that is off again, so
// that flows keep their distances.
func (d *Decoder) clock(e *exporter, export, now int64, uptime uint32) clock {
	limit := int64(d.cfg.MaxSkew)
	if off := now - export - e.skew; limit > 0 && (off > limit || off < -limit) {
		e.skew = now - export
		if e.skew <= limit && e.skew >= -limit {
			e.skew = 0
		} else {
			d.counts[skewedClock]++
		}
	}
	return clock{export: export, uptime: uptime, skew: e.skew}
}

// since turns a time in milliseconds since the exporter started into
// nanoseconds since 1970 of its clock. Uptimes wrap around after 49.7 days, so
// only the distance to the datagram counts.
func (c *clock) since(uptime uint32) int64 {
	return c.export - int64(int32(c.uptime-uptime))*millisecond
}

// upSince returns the uptime at the datagram of an exporter that started at boot,
// milliseconds since 1970.
func (c *clock) upSince(boot uint64) uint32 { return uint32(uint64(c.export/millisecond) - boot) }

// at turns a time of a field into nanoseconds since 1970; 0: none is stated.
func (c *clock) at(v uint64, u unit) int64 {
	switch {
	case u == uptimeUnit:
		return c.since(uint32(v))
	case u == microBefore:
		return c.export - int64(min(v, never/microsecond))*microsecond
	case v == 0 || u == noTime:
		return 0
	case u == seconds:
		return int64(min(v, never/second)) * second
	case u == millis:
		return int64(min(v, never/millisecond)) * millisecond
	}
	return ntpTime(v)
}

// ntpTime turns an NTP timestamp into nanoseconds since 1970: seconds since 1900
// in the upper half, which wraps around in 2036, and parts of one in the lower.
func ntpTime(v uint64) int64 {
	const to1970 = 2208988800
	s := int64(v>>32) - to1970
	if s < 0 {
		s += 1 << 32
	}
	return s*second + int64((v&(1<<32-1))*second>>32)
}

// span turns the first and the last time of a flow, by the exporter's clock and
// 0 where it states none, into those of its record, and reports whether they
// were possible. A flow that ends after its datagram was sent is moved to end
// with it, and one that lasts too long has no duration. A flow may lie in the
// past: exporters may read captures.
func (c *clock) span(first, last int64) (int64, int64, bool) {
	sound := true
	if first == 0 {
		first = last
	}
	if last == 0 {
		last = first
	}
	if last <= 0 { // none, or before 1970
		first, last, sound = c.export, c.export, last == 0
	}
	if first > last { // some exporters mix them up, softflowd 1.1 all the time
		first, last = last, first
	}
	if last > c.export+maxAhead {
		first, last, sound = c.export-(last-first), c.export, false
	}
	if last-first > maxDuration {
		first, sound = last, false
	}
	return first + c.skew, last + c.skew, sound
}

// times returns the first and the last time of a record, as span does.
func (m *message) times(t *template, v *values) (first, last int64, sound bool) {
	c := m.clock
	if t.units[firstTime] == uptimeUnit || t.units[lastTime] == uptimeUnit {
		m.boot(&c, t, v)
	}
	if v[firstTime]|v[lastTime] != 0 { // zero at both ends is no time, of any unit
		first = c.at(v[firstTime], t.units[firstTime])
		last = c.at(v[lastTime], t.units[lastTime])
	}
	if t.fills(duration) {
		first, last = lasting(first, last, v[duration], t.units[duration])
	}
	if t.has&(1<<reverseFirst|1<<reverseLast) != 0 {
		first, last = both(first, last, c.at(v[reverseFirst], t.units[reverseFirst]), c.at(v[reverseLast], t.units[reverseLast]))
	}
	return c.span(first, last)
}

// boot sets the uptime of the clock where the datagram does not state it: IPFIX
// tells when the exporter started, in the record or in an option. Where it does
// not, the flow ended when it was sent.
func (m *message) boot(c *clock, t *template, v *values) {
	switch {
	case t.fills(bootTime) && v[bootTime] != 0:
		c.uptime = c.upSince(v[bootTime])
	case m.version != flow.IPFIX:
	case m.started != 0:
		c.uptime = c.upSince(m.started)
	default:
		c.uptime = uint32(v[lastTime])
	}
}

// lasting completes the times of a flow by how long it lasted.
func lasting(first, last int64, v uint64, u unit) (int64, int64) {
	length := int64(min(v, 2*maxDuration/millisecond)) * millisecond
	if u == micros {
		length = int64(min(v, 2*maxDuration/microsecond)) * microsecond
	}
	switch {
	case last == 0 && first != 0:
		last = first + length
	case first == 0 && last != 0:
		first = last - length
	}
	return first, last
}

// both joins the times of the two directions of a flow, 0 where there are none.
func both(first, last, backFirst, backLast int64) (int64, int64) {
	if backFirst != 0 && (first == 0 || backFirst < first) {
		first = backFirst
	}
	return first, max(last, backLast)
}
