package record

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"vft/event"
)

// Threats turns what detections and sensors tell of their episodes into findings,
// to which the room of incidents gives a life that spans episodes. One goroutine
// uses it at a time.
type Threats struct {
	told map[string]uint64 // observations that were told, by episode
}

// maxEpisodes is how many episodes are counted on. Of one beyond, what was told of
// is counted again.
const maxEpisodes = 1 << 14

// NewThreats returns Threats that knows of no episode.
func NewThreats() *Threats { return &Threats{told: map[string]uint64{}} }

// kind is how what one detection finds is measured, and how long their detection
// remembers what made it speak.
type kind struct {
	unit   string
	memory time.Duration
}

var kinds = map[string]kind{
	"vertical_scan": {"ports", 30 * time.Minute}, "horizontal_scan": {"", 30 * time.Minute}, "slow_scan": {"targets", 24 * time.Hour},
	"host_discovery": {"hosts", 30 * time.Minute}, "brute_force": {"failed logins", 30 * time.Minute}, "beacon": {"", 24 * time.Hour},
	"dns_tunnel": {"names", 30 * time.Minute}, "dga": {"names", 30 * time.Minute}, "new_peer": {"", time.Hour}, "amplification": {"times as much", 10 * time.Minute},
	"syn_flood": {"packets/s", 10 * time.Minute}, "udp_flood": {"packets/s", 10 * time.Minute}, "icmp_flood": {"packets/s", 10 * time.Minute},
	"tcp_flood": {"packets/s", 10 * time.Minute}, "http_flood": {"requests/s", 10 * time.Minute}, "arp_spoof": {"", 30 * time.Minute},
	"rogue_dhcp": {"", time.Hour}, "tcp_injection": {"", 30 * time.Minute}, "capture_loss": {"share", 10 * time.Minute}, "long_connection": {"seconds", 24 * time.Hour},
	"background": {"sources", 24 * time.Hour}, "outage": {"contacts", 30 * time.Minute},
}

const defaultMemory = 10 * time.Minute

// Finding returns what a vft.threat event says as a finding.
func (t *Threats) Finding(e *event.Event) *event.Finding {
	s := e.Threat
	known, detection := kinds[s.Type]
	f := &event.Finding{
		Type: s.Type, Sensor: s.Sensor, Time: e.Time, Since: s.Start, Memory: cmp.Or(known.memory, defaultMemory), Client: e.Client, Observer: s.Observer,
		Src: e.Src, Dst: e.Dst, Transport: e.Transport, Unit: known.unit, Severity: s.Severity, Evidence: e.Evidence, Process: e.Process,
	}
	if !s.End.IsZero() && s.End.Before(e.Time) {
		f.Time = s.End
	}
	if e.Src.IsValid() && e.Src.Port() == 0 || e.Dst.IsValid() && e.Dst.Port() == 0 {
		f.Src, f.Dst = netip.AddrPort{}, netip.AddrPort{} // about more than one flow
	}
	if offender, err := netip.ParseAddr(s.Offender); err == nil {
		f.Offender = offender.Unmap().WithZone("")
	} else {
		f.Name = s.Offender
	}
	f.Many = s.Offender == ""
	if s.Type == "capture_loss" {
		f.By, f.Party, f.Many, f.Evidence = event.BySensor, cmp.Or(s.Observer, "the capture"), false, event.E1
	}
	if !detection { // a sensor: what fires after its cool-down is told again
		f.Key, f.Over = s.Episode, s.State == event.Resolved
	}
	count := describe(f, s.Details)
	if s.Type == "capture_loss" {
		count = 1
	}
	told := t.told[s.Episode]
	f.Count = count - min(count, told)
	switch {
	case s.State == event.Resolved:
		delete(t.told, s.Episode)
	case len(t.told) < maxEpisodes || told > 0:
		t.told[s.Episode] = max(count, told)
	}
	return f
}

// describe reads the details that every finding has into f, keeps the others, and
// returns how many observations the episode has.
func describe(f *event.Finding, details map[string]any) (count uint64) {
	names := slices.Sorted(maps.Keys(details))
	for _, name := range names {
		v := details[name]
		switch name {
		case "count":
			count = uint64(max(numberOf(v), 0))
		case "value":
			f.Value = numberOf(v)
		case "threshold":
			f.Threshold = numberOf(v)
		case "window_s":
			f.Window = time.Duration(numberOf(v) * float64(time.Second))
		case "usual":
			usual := numberOf(v)
			f.Usual = &usual
		case "hosts":
			f.Hosts = int(numberOf(v))
		case "distinct_ports":
			f.Distinct = int(numberOf(v))
		case "scan":
			f.Scan, _ = v.(string)
		case "tool":
			f.Tool, _ = v.(string)
		case "unit":
			f.Unit, _ = v.(string)
		case "spoofed":
			f.Many = v == true
		case "attacked_hosts":
			for _, text := range textsOf(v) {
				if a, err := netip.ParseAddr(text); err == nil {
					f.Victims = append(f.Victims, a.Unmap().WithZone(""))
				}
			}
		case "ports":
			f.Ports = portsOf(v)
		default:
			f.Details = append(f.Details, event.Detail{Name: name, Value: v})
		}
	}
	return count
}

func numberOf(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case uint32:
		return float64(v)
	case uint16:
		return float64(v)
	}
	return 0
}

func textsOf(v any) []string {
	switch v := v.(type) {
	case []string:
		return v
	case []any:
		var all []string
		for _, one := range v {
			if s, ok := one.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

func portsOf(v any) (all []uint16) {
	switch v := v.(type) {
	case []uint16:
		return v
	case []any:
		for _, one := range v {
			if n := numberOf(one); n >= 0 && n <= 65535 {
				all = append(all, uint16(n))
			}
		}
	}
	return all
}
