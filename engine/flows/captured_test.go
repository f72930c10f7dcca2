package flows

import (
	"net/netip"
	"testing"
	"time"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/correlate/sensor"
	"vft/event"
)

func sensorsOf(t *testing.T, text string) sensor.Definitions {
	t.Helper()
	d, err := sensor.Parse("sensors.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Sensors that are reloaded look at the flows of the capture from the next one
// on, whether it had sensors of a file before or not.
func TestReloadChangesTheSensorsOfCapturedFlows(t *testing.T) {
	const none, knock, louder = "builtin: off", "{builtin: off, sensors: {knock: {key: source, cool-down: 1s}}}", "{builtin: off, sensors: {louder: {key: source, cool-down: 1s}}}"
	for _, c := range []struct {
		why, before, after string
		fired              [2]string // by a flow before, by one after
	}{
		{"a sensor comes", none, knock, [2]string{"", "knock"}},
		{"a sensor goes", knock, none, [2]string{"knock", ""}},
		{"one takes the place of another", knock, louder, [2]string{"knock", "louder"}},
	} {
		var fired string
		judged, err := NewCaptured(Config{Settings: &Settings{}, Sensors: Sensors{Captured: sensorsOf(t, c.before)}, Emit: func(e event.Event) {
			if e.Threat != nil && e.Threat.State == event.Firing {
				fired = e.Threat.Type
			}
		}}, false)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixNano()
		n := byte(0)
		flowNow := func() string {
			n++ // each of another source
			fired = ""
			judged.Flow(&flow.Record{Key: flow.Key{Src: packet.AddrFrom(netip.AddrFrom4([4]byte{192, 0, 2, n})), Dst: packet.Addr4(1), Proto: 6, DstPort: 80, Ports: true},
				Fwd: flow.Side{Packets: 1, Bytes: 60}, First: now, Last: now})
			return fired
		}
		judged.Advance(now)
		got := [2]string{flowNow()}
		judged.Reload(Sensors{Captured: sensorsOf(t, c.after)})
		got[1] = flowNow()
		if got != c.fired {
			t.Errorf("%s: %q fired, not %q", c.why, got, c.fired)
		}
	}
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func filterOf(expression string) capture.FilterSettings {
	return capture.FilterSettings{Expression: expression}
}
