package ecs

import (
	"encoding/json"
	"io/fs"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vft/docs/schema"
	"vft/event"
	"vft/siem/ecs/ecstest"
)

// ecsFields are the fields of ECS 9 that records use, with the type that ECS
// gives them (www.elastic.co/docs/reference/ecs, field reference).
var ecsFields = map[string]string{
	"@timestamp": "date", "message": "match_only_text", "tags": "keyword",
	"ecs.version": "keyword",
	"event.kind":  "keyword", "event.category": "keyword", "event.type": "keyword", "event.action": "keyword",
	"event.dataset": "keyword", "event.id": "keyword", "event.created": "date", "event.severity": "long",
	"event.start": "date", "event.end": "date", "event.duration": "long",
	"observer.vendor": "keyword", "observer.type": "keyword", "observer.hostname": "keyword", "observer.version": "keyword",
	"agent.id": "keyword", "agent.type": "keyword", "agent.version": "keyword",
	"host.name": "keyword", "related.ip": "ip",
	"source.ip": "ip", "source.port": "long", "source.bytes": "long", "source.packets": "long",
	"destination.ip": "ip", "destination.port": "long", "destination.bytes": "long", "destination.packets": "long",
	"network.transport": "keyword", "network.type": "keyword", "network.community_id": "keyword",
	"network.bytes": "long", "network.packets": "long",
	"process.pid": "long", "process.name": "keyword", "process.command_line": "wildcard", "user.name": "keyword", "container.id": "keyword",
	"rule.id": "keyword", "rule.name": "keyword", "rule.description": "keyword",
	"threat.framework": "keyword", "threat.technique.id": "keyword",
}

// expectedTypes are the values of event.category that records use, each with
// the values of event.type that ECS 9 expects in it.
var expectedTypes = map[string][]string{
	"network":             {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
	"intrusion_detection": {"allowed", "denied", "info"},
	"host":                {"access", "change", "end", "info", "start"},
}

// fields calls visit for every field that a schema allows, by its path.
func fields(t *testing.T, visit func(dataset, path string, field map[string]any)) {
	t.Helper()
	files := map[string]map[string]any{}
	names, err := fs.Glob(schema.Files, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := schema.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = parse(t, text)
	}
	var walk func(file, dataset, path string, node map[string]any)
	walk = func(file, dataset, path string, node map[string]any) {
		if ref, ok := node["$ref"].(string); ok {
			in, name, _ := strings.Cut(ref, "#/$defs/")
			if in == "" {
				in = file
			}
			shared, ok := value(files[in], "$defs."+name).(map[string]any)
			if !ok {
				t.Fatalf("%s: %s leads nowhere", dataset, ref)
			}
			if own := node["description"]; own != nil {
				shared = maps.Clone(shared)
				shared["description"] = own
			}
			walk(in, dataset, path, shared)
			return
		}
		if items, _ := node["items"].(map[string]any); items["properties"] != nil || items["$ref"] != nil {
			items = maps.Clone(items)
			items["description"] = node["description"]
			walk(file, dataset, path, items)
			return
		}
		properties, ok := node["properties"].(map[string]any)
		if !ok {
			visit(dataset, path, node)
			return
		}
		if node["additionalProperties"] != false {
			t.Errorf("%s: %s allows fields that it does not name", dataset, path)
		}
		for name, child := range properties {
			walk(file, dataset, strings.TrimPrefix(path+"."+name, "."), child.(map[string]any))
		}
	}
	for name, root := range files {
		if name != "common.json" {
			walk(name, strings.TrimSuffix(name, ".json"), "", root)
		}
	}
}

func TestEveryFieldIsOfECS(t *testing.T) {
	used := map[string]bool{}
	fields(t, func(dataset, path string, field map[string]any) {
		if strings.HasPrefix(path, "vft.") {
			return
		}
		used[path] = true
		want, known := ecsFields[path]
		if !known {
			t.Errorf("%s: %s is no field of ECS; own fields live under vft", dataset, path)
			return
		}
		kind := field["type"]
		if items, ok := field["items"].(map[string]any); ok {
			kind = items["type"]
		}
		if kind == nil { // a list of constants
			kind = "string"
		}
		if ok := kind == "string" && want != "long" || kind == "integer" && want == "long"; !ok {
			t.Errorf("%s: %s is %v, ECS has %s", dataset, path, kind, want)
		}
	})
	for path := range ecsFields {
		if !used[path] {
			t.Errorf("no schema has %s; remove it here", path)
		}
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	fields(t, func(dataset, path string, field map[string]any) {
		if field["description"] == nil {
			t.Errorf("%s: %s has no description", dataset, path)
		}
	})
}

func TestCategoriesAndTypesAreOfECS(t *testing.T) {
	for _, e := range append(samples(), memberStates()...) {
		header := parse(t, Append(nil, &e, observer))
		var allowed []string
		for _, category := range value(header, "event.category").([]any) {
			types, known := expectedTypes[category.(string)]
			if !known {
				t.Errorf("%s: category %v", e.Dataset, category)
			}
			allowed = append(allowed, types...)
		}
		for _, one := range value(header, "event.type").([]any) {
			if !slices.Contains(allowed, one.(string)) {
				t.Errorf("%s: type %v is not expected in its categories", e.Dataset, one)
			}
		}
	}
}

func memberStates() (events []event.Event) {
	for _, state := range []event.MemberState{event.Connected, event.Disconnected, event.Lost, event.Dropping} {
		e := clientEvent()
		m := *e.Member
		m.State = state
		e.Member = &m
		events = append(events, e)
	}
	return events
}

func TestRecordsKeepToTheirSchema(t *testing.T) {
	events := append(samples(), memberStates()...)
	for _, state := range []event.AlertState{event.Updated, event.Resolved} {
		e := alertEvent()
		a := *e.Alert
		a.State, a.Technique, a.Description, a.Reason = state, "", "", ""
		e.Alert = &a
		events = append(events, e)
	}
	full := trapEvent()
	full.Trap = &event.Trap{Late: true, TLS: &event.TLS{SNI: "a", ALPN: []string{"h2"}, Version: "1.3", JA4: "t13d"}, SSH: &event.SSH{Banner: "b", HASSH: "c"}, SYN: &event.SYN{}}
	icmp := probeEvent()
	icmp.Transport = "ipv6-icmp"
	for _, e := range append(append(events, full, icmp), measured()...) {
		ecstest.Validate(t, Append(nil, &e, observer))
		e.Message, e.Tags = "Given.", []string{"noise"}
		ecstest.Validate(t, Append(nil, &e, observer))
	}
}

// measured returns what the samples of the datasets of packets and flows leave
// out.
func measured() (events []event.Event) {
	for _, change := range []func(stat, anomaly, threat, flow, summary *event.Event){
		func(stat, anomaly, threat, flow, summary *event.Event) {
			stat.Stat = &event.Stat{Name: "R_SYN"}
			anomaly.Anomaly = &event.Anomaly{Detector: "spot", Statistic: "R_SYN", State: event.Firing, Value: math.Inf(1), Side: "down", Episode: "1"}
			anomaly.Src, anomaly.Dst, anomaly.Transport, anomaly.Process = netip.AddrPort{}, netip.AddrPort{}, "", nil
			threat.Threat = &event.Threat{Type: "mine", State: event.Updated, Episode: "1"}
			threat.Src, threat.Dst, threat.Transport = netip.AddrPort{}, netip.AddrPort{}, ""
			flow.Flow = &event.Flow{}
			summary.Summary = &event.Summary{}
		},
		func(stat, anomaly, threat, flow, summary *event.Event) {
			anomaly.Transport, threat.Transport, flow.Transport = "ipv6-icmp", "ipv6-icmp", "ipv6-icmp"
			six := netip.MustParseAddrPort("[fe80::1%eth0]:128")
			anomaly.Src, threat.Src, flow.Src = six, six, six
			anomaly.Dst, threat.Dst, flow.Dst = six, six, six
			threat.Threat = &event.Threat{Type: "host_discovery", Observer: "fe80::1%eth1", Offender: "::ffff:192.0.2.1", State: event.Resolved, Episode: "1",
				Details: map[string]any{"\x00\"\u202e\xff": []any{map[string]any{"": math.NaN()}, []uint16{1}, netip.MustParseAddr("::1"), make(chan int)}}}
			stat.Process = &event.Process{PID: -1, Name: "\x1b"}
		},
		func(stat, anomaly, threat, flow, summary *event.Event) {
			anomaly.Transport, threat.Transport, flow.Transport = "", "gre", ""
			a := *anomaly.Anomaly
			a.State, a.Methods, a.Series, a.Reason = event.Resolved, nil, nil, "new normal"
			anomaly.Anomaly = &a
			flow.Flow = &event.Flow{Start: at, End: at.Add(-time.Second), Exporter: "no address", Sampling: 10}
		},
	} {
		e := samples()[len(samples())-5:]
		change(&e[0], &e[1], &e[2], &e[3], &e[4])
		events = append(events, e...)
	}
	return events
}

func TestValidatorRefuses(t *testing.T) {
	good := func(change func(map[string]any)) []byte {
		e := trapEvent()
		r := parse(t, Append(nil, &e, observer))
		change(r)
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	measuredWith := func(name, key string, v any) []byte {
		for _, e := range samples() {
			if e.Dataset == event.Dataset("vft."+name) {
				r := parse(t, Append(nil, &e, observer))
				value(r, "vft."+name).(map[string]any)[key] = v
				line, _ := json.Marshal(r)
				return line
			}
		}
		t.Fatalf("no sample of %s", name)
		return nil
	}
	in := func(r map[string]any, path string) map[string]any { return value(r, path).(map[string]any) }
	if err := ecstest.Check(good(func(map[string]any) {})); err != nil {
		t.Fatalf("the record that the others are made of: %v", err)
	}
	for _, c := range []struct {
		why  string
		line []byte
	}{
		{"no JSON", []byte("{")},
		{"two lines", append(good(func(map[string]any) {}), "\n{}\n"...)},
		{"a dataset without a schema", good(func(r map[string]any) { in(r, "event")["dataset"] = "vft.other" })},
		{"a field too many", good(func(r map[string]any) { r["more"] = 1 })},
		{"a field too many, deep", good(func(r map[string]any) { in(r, "vft.trap.syn")["more"] = 1 })},
		{"a statistic that is text", measuredWith("stat", "value", "1")},
		{"a state of no statistic", measuredWith("stat", "state", "firing")},
		{"a method that is text", measuredWith("anomaly", "methods", map[string]any{"diff": "1"})},
		{"an anomaly without an end", measuredWith("anomaly", "state", "updated")},
		{"details that are a list", measuredWith("threat", "details", []any{})},
		{"flags of more than a byte", measuredWith("flow", "tcp_flags", 256)},
		{"a key that is no one's", measuredWith("flow", "more", 1)},
		{"half a packet", measuredWith("summary", "counters", map[string]any{"ipv4": 0.5})},
		{"a missing field", good(func(r map[string]any) { delete(r, "message") })},
		{"a time without a zone", good(func(r map[string]any) { r["@timestamp"] = "2026-11-20T08:15:30.123456" })},
		{"no such day", good(func(r map[string]any) { r["@timestamp"] = "2026-02-30T08:15:30.123456Z" })},
		{"an address with a zone", good(func(r map[string]any) { in(r, "source")["ip"] = "fe80::1%eth0" })},
		{"a port out of range", good(func(r map[string]any) { in(r, "source")["port"] = 65536 })},
		{"a payload that is not base64", good(func(r map[string]any) { in(r, "vft.trap")["payload"] = "ab=c" })},
	} {
		if ecstest.Check(c.line) == nil {
			t.Errorf("%s: accepted", c.why)
		}
	}
}
