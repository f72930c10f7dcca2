package sensor

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vft/yamlfile"
)

func TestBuiltIn(t *testing.T) {
	d := parse(t, "")
	if !slices.Equal(d.Names(), []string{"spam", "winscan", "portscan"}) {
		t.Errorf("built in are %v", d.Names())
	}
	again, err := Parse("sensors.yaml", BuiltIn())
	if err != nil || len(again) != len(d) {
		t.Fatalf("the file of the built-in sensors gives %v, %v", again.Names(), err)
	}
	for i := range d {
		if again[i].behaviour != d[i].behaviour {
			t.Errorf("%s differs when read again: %s", d[i].Name, again[i].behaviour)
		}
	}
}

func TestFilesAddReplaceAndRemove(t *testing.T) {
	for _, c := range []struct {
		why, text string
		want      []string
	}{
		{"nothing", "", []string{"spam", "winscan", "portscan"}},
		{"another is added", "sensors: {mine: {window: {period: 60s}, report_if: count > 3}}", []string{"spam", "winscan", "portscan", "mine"}},
		{"one is replaced where it stands", "sensors: {winscan: {severity: 1}}", []string{"spam", "winscan", "portscan"}},
		{"one is off", "sensors: {winscan: off}", []string{"spam", "portscan"}},
		{"all are off", "builtin: off", []string{}},
		{"only mine", "builtin: off\nsensors: {mine: {filter: none}}", []string{"mine"}},
		{"on is as built in", "builtin: on", []string{"spam", "winscan", "portscan"}},
	} {
		d := parse(t, c.text)
		if !slices.Equal(d.Names(), c.want) {
			t.Errorf("%s: %v, want %v", c.why, d.Names(), c.want)
		}
	}
	if d := parse(t, "sensors: {winscan: {severity: 1}}"); d[1].Severity != 1 || d[1].condition != nil {
		t.Errorf("a sensor in place of a built-in one takes over from it: %+v", d[1])
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	for _, c := range []struct{ why, text, place, says string }{
		{"unknown at the top", "sensor: {}", "f.yaml:1:1", "sensors and builtin"},
		{"no YAML", "sensors: [", "f.yaml:1", ""},
		{"no mapping at the top", "- 1", "f.yaml:1", "must be a mapping"},
		{"sensors no mapping", "sensors: 3", "f.yaml:1:10", "must be a mapping"},
		{"a bad name", "sensors:\n  Spam: {}", "f.yaml:2:3", "no name for a sensor"},
		{"an empty sensor", "sensors:\n  mine:", "f.yaml:2:3", "mine is empty"},
		{"twice", "sensors:\n  a: off\n  a: off", "f.yaml:3", "twice"},
		{"off what is not there", "sensors:\n  mine: off", "f.yaml:2:3", "is no built-in sensor"},
		{"off twice over", "builtin: off\nsensors: {spam: off}", "f.yaml:2:11", "off already"},
		{"builtin maybe", "builtin: maybe", "f.yaml:1:10", "not on or off"},
		{"unknown in a sensor", "sensors:\n  a:\n    fliter: none", "f.yaml:3:5", "a sensor has the keys filter, key"},
		{"a severity too high", "sensors:\n  a:\n    severity: 101", "f.yaml:3:15", "from 0 to 100"},
		{"a type with blanks", "sensors:\n  a:\n    type: my type", "f.yaml:3:11", "no type of threat"},
		{"a long description", "sensors:\n  a:\n    description: " + strings.Repeat("x", 1025), "f.yaml:3:18", "longer than 1024"},
		{"no cool-down", "sensors:\n  a:\n    cool-down: soon", "f.yaml:3:16", "written as 60s, 10m or 1h"},
		{"too short a cool-down", "sensors:\n  a:\n    cool-down: 1ms", "f.yaml:3:16", "from 1s to 24h"},
		{"a detail of vft's own", "sensors:\n  a:\n    details: {ports: all}", "f.yaml:3:15", "of vft's own"},
		{"a detail that is a list", "sensors:\n  a:\n    details: {note: [1]}", "f.yaml:3:21", "one value"},

		{"no filter", "sensors:\n  a:\n    filter: everything", "f.yaml:3:13", "no filter"},
		{"an unknown filter", "sensors:\n  a:\n    filter: {dstport: 80}", "f.yaml:3:14", "there are none, all, any"},
		{"an unknown filter in a list", "sensors:\n  a:\n    filter:\n      any:\n      - dst_port: 80\n      - dstport: 80", "f.yaml:6:9", "is no filter"},
		{"no port", "sensors:\n  a:\n    filter: {dst_port: http}", "f.yaml:3:24", "from 0 to 65535"},
		{"a port too high", "sensors:\n  a:\n    filter: {dst_ports: [80, 65536]}", "f.yaml:3:30", "from 0 to 65535"},
		{"two ports", "sensors:\n  a:\n    filter: {dst_port: [80, 81]}", "f.yaml:3:14", "takes one port; dst_ports takes a list"},
		{"no ports", "sensors:\n  a:\n    filter: {dst_ports: []}", "f.yaml:3:14", "needs a port"},
		{"a range backwards", "sensors:\n  a:\n    filter: {dst_port_range: 9-1}", "f.yaml:3:30", "range"},
		{"no flags", "sensors:\n  a:\n    filter: {tcp_flags: sin}", "f.yaml:3:25", "names as syn+rst"},
		{"too many flags", "sensors:\n  a:\n    filter: {tcp_flags: 256}", "f.yaml:3:25", "to 255"},
		{"no number of bits", "sensors:\n  a:\n    filter: {bits_per_packet_lower_than: -1}", "f.yaml:3:42", "number of bits"},
		{"no protocol", "sensors:\n  a:\n    filter: {protocol: http}", "f.yaml:3:24", "tcp, udp"},
		{"no network", "sensors:\n  a:\n    filter: {src_in: [10.0.0.0/33]}", "f.yaml:3:23", "as 10.0.0.0/8"},
		{"a 4-in-6 network", "sensors:\n  a:\n    filter: {src_in: '::ffff:10.0.0.0/104'}", "f.yaml:3:22", "write it as IPv4"},
		{"not of nothing", "sensors:\n  a:\n    filter:\n      not:", "f.yaml:4:7", "needs a filter"},

		{"no key", "sensors:\n  a:\n    key: src", "f.yaml:3:10", "there are observer, source"},
		{"an empty key", "sensors:\n  a:\n    key: []", "f.yaml:3:5", "needs a word"},
		{"no window", "sensors:\n  a:\n    window: 60s", "f.yaml:3:13", "write single, {period: 60s}"},
		{"an unknown window", "sensors:\n  a:\n    window: {sliding: 60s}", "f.yaml:3:14", "is no window"},
		{"two windows", "sensors:\n  a:\n    window: {period: 60s, count: 3}", "f.yaml:3:27", "of one kind"},
		{"too long a window", "sensors:\n  a:\n    window: {period: 200h}", "f.yaml:3:22", "to 168h"},
		{"no count", "sensors:\n  a:\n    window: {count: 0}", "f.yaml:3:21", "from 1 to 4096"},
		{"no step", "sensors:\n  a:\n    window: {hopping: 60s}", "f.yaml:3:5", "needs a step"},
		{"a step that does not divide", "sensors:\n  a:\n    window: {hopping: 60s, step: 7s}", "f.yaml:3:5", "needs a step that divides"},
		{"a step without hopping", "sensors:\n  a:\n    window: {period: 60s, step: 6s}", "f.yaml:3:27", "belongs to a hopping window"},

		{"an empty condition", "sensors:\n  a:\n    report_if: ''", "f.yaml:3:16", "is empty"},
		{"an unknown name", "sensors:\n  a:\n    report_if: count > 3 and flows > 2", "f.yaml:3:30", "unknown name flows"},
		{"in quotes", "sensors:\n  a:\n    report_if: \"flows > 2\"", "f.yaml:3:17", "unknown name flows"},
		{"in a block", "sensors:\n  a:\n    report_if: |\n      count > 3\n      and flows > 2", "f.yaml:5:11", "unknown name flows"},
		{"folded", "sensors:\n  a:\n    report_if: >\n      count > 3\n      and flows > 2", "f.yaml:5:11", "unknown name flows"},
		{"over two lines", "sensors:\n  a:\n    report_if: count > 3\n      and flows > 2", "f.yaml:4:11", "unknown name flows"},
		{"over two lines in quotes", "sensors:\n  a:\n    report_if: 'count > 3\n      and flows > 2'", "f.yaml:4:11", "unknown name flows"},
		{"no truth", "sensors:\n  a:\n    report_if: count + 1", "f.yaml:3:", "bool"},
		{"a sum of addresses", "sensors:\n  a:\n    report_if: sum(dst) > 1", "f.yaml:3:16", "sum takes bytes or packets"},
		{"distinct bytes", "sensors:\n  a:\n    report_if: distinct(bytes) > 1", "f.yaml:3:16", "distinct takes src, dst"},
		{"bytes alone", "sensors:\n  a:\n    report_if: bytes > 1", "f.yaml:3:22", "can only stand in sum"},
		{"a comparison with a text", "sensors:\n  a:\n    report_if: count > \"x\"", "f.yaml:3:24", "cannot be used"},
		{"a list", "sensors:\n  a:\n    report_if: count in 1..1000000000", "f.yaml:3:26", "cannot be used"},
		{"a loop", "sensors:\n  a:\n    report_if: 'all(1..1000000000, # > 1)'", "f.yaml:3:", "cannot be used"},
		{"a function of expr's own", "sensors:\n  a:\n    report_if: len(\"abc\") > 1", "f.yaml:3:", "cannot be used"},
		{"the time", "sensors:\n  a:\n    report_if: now().Year() > 1", "f.yaml:3:", "can"},
		{"a variable", "sensors:\n  a:\n    report_if: let x = count; x > 1", "f.yaml:3:", "cannot be used"},
		{"a power", "sensors:\n  a:\n    report_if: count > 2 ** 70", "f.yaml:3:26", "cannot be used"},
		{"half a condition", "sensors:\n  a:\n    report_if: count >", "f.yaml:3:", "unexpected token"},
		{"a condition too long", "sensors:\n  a:\n    report_if: count > 1" + strings.Repeat(" and count > 1", 80), "f.yaml:3:16", "longer than"},
		{"a condition too large", "sensors:\n  a:\n    report_if: count > 1" + strings.Repeat("+1", 200), "f.yaml:3:", "maximum allowed nodes"},
	} {
		_, err := Parse("f.yaml", []byte(c.text))
		var at *yamlfile.Error
		if !errors.As(err, &at) {
			t.Errorf("%s: %v (%s)", c.why, err, reflect.TypeOf(err))
			continue
		}
		if !strings.HasPrefix(err.Error(), c.place) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q\nshould stand at %s and say %q in one line", c.why, err, c.place, c.says)
		}
	}
}

// Whatever a file holds, it gives sensors that work or one line of error.
func FuzzParse(f *testing.F) {
	f.Add(string(BuiltIn()))
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse("f.yaml", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.yaml") || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q", err)
			}
			return
		}
		s := New(Config{Definitions: d, MaxKeys: 16})
		for i := range 20 {
			r := tcp("10.0.0.9", "10.1.0.1", uint16(i), 2, 60, int64(i)*second)
			s.Flow(&r)
		}
		s.Close()
	})
}
