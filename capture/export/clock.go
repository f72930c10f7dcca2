package export

// clock turns the times of one datagram into nanoseconds since 1970.
type clock struct {
	export int64  // when the exporter sent the datagram, by its own clock
	uptime uint32 // its milliseconds since it started, at that moment
	skew   int64  // added to all times
}

const (
	microsecond = 1e3
	millisecond = 1e6
	second      = 1e9

	// maxAhead is how far behind its datagram a flow may end: the header of many
	// exporters has whole seconds.
	maxAhead = 60 * second
	// maxDuration is the longest flow. Exporters report long ones every half hour;
	// what is longer was reset to no time at all.
	maxDuration = 31 * 24 * 3600 * second
)

// clock makes the clock of a datagram that was sent at export and came at now.
func (d *Decoder) clock(e *exporter, export, now int64, uptime uint32) clock {
	if off := now - export - e.skew; d.cfg.MaxSkew > 0 && (off > int64(d.cfg.MaxSkew) || off < -int64(d.cfg.MaxSkew)) {
		e.skew = now - export
		if e.skew <= int64(d.cfg.MaxSkew) && e.skew >= -int64(d.cfg.MaxSkew) {
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

// span returns the first and the last time of a flow, of the exporter's clock
// and 0 when it states none, as they go into its record, and whether they were
// possible. A flow that ends after its datagram was sent is moved to end with
// it, and one that starts after its end or too long before has no duration.
// A flow may lie in the past: exporters may read captures.
func (c *clock) span(first, last int64) (int64, int64, bool) {
	sound := true
	if last == 0 {
		last = first
	}
	if last <= 0 {
		last = c.export
	}
	if first == 0 {
		first = last
	}
	if last > c.export+maxAhead {
		first, last, sound = first-(last-c.export), c.export, false
	}
	if first > last || first <= 0 || last-first > maxDuration {
		first, sound = last, false
	}
	return first + c.skew, last + c.skew, sound
}
