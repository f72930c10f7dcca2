package ecs

import (
	"encoding/json"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

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
	"event.start": "date", "event.end": "date",
	"observer.vendor": "keyword", "observer.type": "keyword", "observer.hostname": "keyword", "observer.version": "keyword",
	"agent.id": "keyword", "agent.type": "keyword", "agent.version": "keyword",
	"host.name": "keyword", "related.ip": "ip",
	"source.ip": "ip", "source.port": "long", "destination.ip": "ip", "destination.port": "long",
	"network.transport": "keyword", "network.type": "keyword", "network.community_id": "keyword",
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
	icmp.Transport = "icmp"
	for _, e := range append(events, full, icmp) {
		ecstest.Validate(t, Append(nil, &e, observer))
		e.Message, e.Tags = "Given.", []string{"noise"}
		ecstest.Validate(t, Append(nil, &e, observer))
	}
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
