package fleet

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vft/correlate/known"
)

// The built-in file says what the documentation does, rule by rule.
func TestDefaults(t *testing.T) {
	r := DefaultRules()
	for _, c := range []struct {
		id                 RuleID
		severity           int
		threshold          float64
		window             time.Duration
		clients, sources   int
		others, wantOthers []float64
	}{
		{Touch, 20, 0, 24 * time.Hour, 0, 0, []float64{float64(r.Rule[Touch].InsideSeverity), float64(r.Rule[Touch].PerHour)}, []float64{40, 20}},
		{SamePort, 40, 3, 300 * time.Second, 1, 1, nil, nil},
		{SameSource, 40, 3, 300 * time.Second, 1, 0, nil, nil},
		{SameClient, 40, 3, 300 * time.Second, 0, 1, nil, nil},
		{HostScan, 50, 3, 60 * time.Second, 0, 0, []float64{float64(r.Rule[HostScan].Probes)}, []float64{10}},
		{PortCampaign, 60, 3, 10 * time.Minute, 0, 2, []float64{r.Rule[PortCampaign].Probability, r.Rule[PortCampaign].Floor}, []float64{1e-4, 0.1}},
		{Victim, 60, 5, time.Hour, 0, 0, []float64{r.Rule[Victim].Factor}, []float64{10}},
		{SlowScan, 70, 99, 24 * time.Hour, 0, 0, []float64{r.Rule[SlowScan].Scanner, r.Rule[SlowScan].Other, r.Rule[SlowScan].Keep.Hours()}, []float64{0.5, 0.02, 7 * 24}},
		{Sweep, 80, 2, time.Hour, 0, 0, nil, nil},
		{SensorLost, 70, 0, 0, 0, 0, nil, nil},
	} {
		one := r.Rule[c.id]
		if one.Off || one.Severity != c.severity || one.Threshold != c.threshold || one.Window != c.window || one.MinClients != c.clients || one.MinSources != c.sources || !slices.Equal(c.others, c.wantOthers) {
			t.Errorf("%s: %+v, %v", c.id, one, c.others)
		}
		if one.Title == "" || one.Description == "" || !strings.HasPrefix(one.Technique, "T1") {
			t.Errorf("%s lacks words: %+v", c.id, one)
		}
	}
	if r.IPv6Prefix != 64 || r.Keys != 65536 || r.Hold != 2*time.Second || r.UpdateEvery != 10*time.Second || r.QuietMax != 24*time.Hour || r.MaxOpen != 4096 || r.RaisePerHour != 500 || len(r.Networks)+len(r.Ignore) != 0 {
		t.Errorf("%+v", r)
	}
}

// The built-in file, printed and given back, changes nothing.
func TestDefaultsReadThemselves(t *testing.T) {
	text := DefaultRulesText()
	rules, err := ParseRules("own.yaml", text)
	if err != nil || !reflect.DeepEqual(rules, DefaultRules()) {
		t.Errorf("%v: %+v", err, rules)
	}
	text[0] = 'x'
	if DefaultRulesText()[0] == 'x' {
		t.Error("the built-in text can be changed")
	}
}

func TestParseRules(t *testing.T) {
	rules, err := ParseRules("own.yaml", []byte(`
networks: [10.0.0.0/8, 192.0.2.7]
ipv6-prefix: 48
keys: 1024
incident: {hold: 0s, update-every: 1m, quiet-max: 30s, max-open: 10, raise-per-hour: 7}
ignore:
- source: 10.0.0.5
  until: 2030-01-31
- {port: 8080, client: web, tool: nmap, until: 2030-01-31T12:00:00+01:00}
- {network: 10.9.0.0/16, type: vertical_scan}
known:
  scanners: [10.0.0.6, 10.1.0.0/16]
  gateways: 10.0.0.1
  monitors:
rules:
  touch: {enabled: false, per-hour: 5}
  slow-scan:
    threshold: 600
  victim:
`))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultRules()
	want.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")}
	want.IPv6Prefix, want.Keys = 48, 1024
	want.Hold, want.UpdateEvery, want.QuietMax, want.MaxOpen, want.RaisePerHour = 0, time.Minute, 30*time.Second, 10, 7
	want.Ignore = []Ignore{
		{Source: netip.MustParsePrefix("10.0.0.5/32"), Until: time.Date(2030, 1, 31, 0, 0, 0, 0, time.UTC)},
		{Port: 8080, Client: "web", Tool: "nmap", Until: time.Date(2030, 1, 31, 11, 0, 0, 0, time.UTC)},
		{Network: netip.MustParsePrefix("10.9.0.0/16"), Type: "vertical_scan"},
	}
	want.Known = &known.Lists{}
	want.Known.Add(known.Scanner, netip.MustParsePrefix("10.0.0.6/32"))
	want.Known.Add(known.Scanner, netip.MustParsePrefix("10.1.0.0/16"))
	want.Known.Add(known.Gateway, netip.MustParsePrefix("10.0.0.1/32"))
	want.Rule[Touch].Off, want.Rule[Touch].PerHour, want.Rule[SlowScan].Threshold = true, 5, 600
	if !reflect.DeepEqual(rules, want) {
		t.Errorf("%+v\nnot %+v", rules, want)
	}
}

func TestParseRulesErrors(t *testing.T) {
	long := "ignore:\n" + strings.Repeat("- {port: 1}\n", maxIgnores+1)
	for _, c := range []struct{ text, want, why string }{
		{"key: 1", "own.yaml:1: key has no meaning here", "an unknown key"},
		{"\n\nkeys: 10", `own.yaml:3: keys: "10" is not a whole number from 1024 to 4194304`, "too few keys"},
		{"keys: many", `own.yaml:1: keys: "many" is not a whole number`, "no number"},
		{"keys: [1024]", "own.yaml:1", "a list for a number"},
		{"keys: 2048\nkeys: 4096", "own.yaml:2: keys stands there twice", "a key twice"},
		{"ipv6-prefix: 129", "ipv6-prefix: \"129\" is not a whole number from 16 to 128", "no such prefix"},
		{"incident: 5", "own.yaml:1", "a number for a mapping"},
		{"incident:\n  hold: 2", "own.yaml:2: hold: \"2\" is not a time from 0s to 1m0s, written as 60s, 10m or 1h", "a time without a unit"},
		{"incident:\n  hold: 2h", "own.yaml:2: hold", "too long"},
		{"incident:\n  wait: 2s", "own.yaml:2: wait has no meaning here", "an unknown key"},
		{"networks: 10.0.0.0/33", "own.yaml:1: networks: \"10.0.0.0/33\" is not an address or a network", "no network"},
		{"networks:\n- 10.0.0.0/8\n- fe80::1%eth0", "own.yaml:3: networks", "a zone"},
		{"networks:\n- [1]", "own.yaml:2", "a list in a list"},
		{"rules: []", "own.yaml:1", "a list for a mapping"},
		{"rules:\n  sweeep: {}", "own.yaml:2: sweeep is no rule; there are [touch", "a rule that is none"},
		{"rules:\n  sweep:\n    threshold: 0", "own.yaml:3: threshold: \"0\" is not a number from 1 to 10", "a threshold that always holds"},
		{"rules:\n  sweep:\n    threshold: 11", "own.yaml:3: threshold", "more than is counted"},
		{"rules:\n  sweep:\n    threshold: NaN", "own.yaml:3: threshold", "not a number"},
		{"rules:\n  sweep:\n    min-clients: 2", "own.yaml:3: min-clients has no meaning here", "a key of another rule"},
		{"rules:\n  sensor-lost:\n    window: 5m", "own.yaml:3: window has no meaning here", "a rule without a window"},
		{"rules:\n  touch:\n    enabled: maybe", "own.yaml:3: enabled: \"maybe\" is not true or false", "neither"},
		{"rules:\n  touch:\n    severity: 101", "own.yaml:3: severity", "too severe"},
		{"rules:\n  touch:\n    window: 0s", "own.yaml:3: window", "no window"},
		{"rules:\n  host-scan:\n    probes: 11", "own.yaml:3: probes", "more than is counted"},
		{"rules:\n  slow-scan:\n    scanner: 0.01", "own.yaml:2: slow-scan: scanner 0.01 must be greater than other 0.02", "chances the wrong way round"},
		{"ignore:\n- {}", "own.yaml:2: ignore", "an entry that says nothing"},
		{"ignore:\n- until: 2030-01-31", "would ignore everything; give source, network, port, client, type or tool", "only an end"},
		{"ignore:\n- port: 0", "own.yaml:2: port: \"0\" is not a port from 1 to 65535", "no port"},
		{"ignore:\n- port: 80\n  until: tomorrow", "own.yaml:3: until: \"tomorrow\" is not a date, as 2030-01-31", "no date"},
		{"ignore:\n- 10.0.0.1", "own.yaml:2", "no mapping"},
		{"ignore:\n- type: Vertical Scan", "own.yaml:2: type: \"Vertical Scan\" is no type of finding, as vertical_scan", "no type"},
		{"ignore:\n- network: here", "own.yaml:2: network: \"here\" is not an address or a network", "no network to ignore"},
		{"known:\n  scaners: 10.0.0.1", "own.yaml:2: scaners is no kind of known hosts; there are [scanners", "a role that is none"},
		{"known:\n  scanners:\n  - 10.0.0.1\n  - x", "own.yaml:4: scanners: \"x\" is not an address or a network", "no address"},
		{"known: [10.0.0.1]", "own.yaml:1", "a list of hosts without a role"},
		{"known:\n  scanners: {a: b}", "own.yaml:2", "a mapping for a list"},
		{long, "at most 1000 are allowed", "too many entries"},
		{"a: [", "own.yaml", "no YAML"},
	} {
		_, err := ParseRules("own.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", c.why, err, c.want)
		}
	}
}

// Whatever a file holds: rules within their limits, or one line that says where.
func FuzzRules(f *testing.F) {
	f.Add(DefaultRulesText())
	f.Add([]byte("networks: [10.0.0.0/8]\nignore:\n- {source: ::1, port: 22, client: a, tool: nmap, until: 2030-01-31}\n"))
	f.Add([]byte("known: {scanners: [10.0.0.1, 10.0.0.0/8], gateways: ::1}\nignore:\n- {network: ::/0, type: beacon}\n"))
	f.Add([]byte("rules:\n  sweep: {threshold: 3, window: 30m, enabled: no}\nincident: {quiet-max: 5s}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRules("own.yaml", text)
		if err != nil {
			if m := err.Error(); !strings.HasPrefix(m, "own.yaml") || strings.ContainsAny(m, "\n\r\x1b") {
				t.Fatalf("error %q", m)
			}
			return
		}
		if r.Keys < 1024 || r.Keys > 1<<22 || r.MaxOpen < 1 || len(r.Ignore) > maxIgnores || r.RaisePerHour < 1 || r.IPv6Prefix < 16 {
			t.Fatalf("%+v", r)
		}
		for id, rule := range r.Rule {
			if rule.Severity < 0 || rule.Severity > 100 || rule.Window < 0 || rule.Window > 7*24*time.Hour || RuleID(id) != SensorLost && rule.Window < time.Second {
				t.Fatalf("%s: %+v", RuleID(id), rule)
			}
		}
		b := newBench(t, func(rules *Rules) { *rules = r; rules.Keys = 1024 })
		for i := range 20 {
			b.hit(float64(i), fmt.Sprintf("10.0.0.%d", i%3), fmt.Sprint("c", i%4), uint16(80+i%5))
		}
		b.advance(1000)
		b.SetRules(DefaultRules())
		b.advance(1e6)
	})
}
