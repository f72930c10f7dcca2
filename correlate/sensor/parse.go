package sensor

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"vft/yamlfile"
)

// Limits of a file.
const (
	maxSensors = 100
	maxDetails = 16
	maxText    = 1024 // characters of a description or a detail
)

// parsedFile is what one file says.
type parsedFile struct {
	noBuiltIn bool
	off       []switchedOff
	sensors   Definitions
}

type switchedOff struct{ name, where string }

// reader reads the nodes of one file.
type reader struct {
	name string
	text []byte
}

// entry is one KEY: VALUE with the place of its key.
type entry struct {
	key   string
	where string // "sensors.yaml:3:5"
	value ast.Node
}

// failure is an error at a place.
func failure(where, format string, args ...any) error { return yamlfile.Errorf(where, format, args...) }

func parseFile(name string, text []byte) (file parsedFile, err error) {
	top, err := yamlfile.Parse(name, text)
	if err != nil {
		return file, err
	}
	r := &reader{name, text}
	for _, e := range top {
		where := r.margin(e.Where)
		switch e.Key {
		case "builtin":
			file.noBuiltIn, err = r.builtin(e.Value, where)
		case "sensors":
			err = r.sensors(e.Value, &file)
		default:
			err = failure(where, "%s has no meaning here; a file of sensors has the keys sensors and builtin", e.Key)
		}
		if err != nil {
			return file, err
		}
	}
	if file.noBuiltIn && len(file.off) > 0 {
		return file, failure(file.off[0].where, "%s is off already, by builtin: off", file.off[0].name)
	}
	return file, nil
}

// margin adds the column where the text of a line begins to "FILE:LINE".
func (r *reader) margin(where string) string {
	_, number, _ := strings.Cut(strings.TrimPrefix(where, r.name), ":")
	n, err := strconv.Atoi(number)
	lines := strings.Split(string(r.text), "\n")
	if err != nil || n < 1 || n > len(lines) {
		return where
	}
	line := lines[n-1]
	return fmt.Sprintf("%s:%d", where, 1+len(line)-len(strings.TrimLeft(line, " \t-")))
}

// at names the place of a node: "sensors.yaml:3:5".
func (r *reader) at(node ast.Node, fallback string) string {
	switch n := node.(type) {
	case nil:
		return fallback
	case *ast.MappingNode:
		if len(n.Values) > 0 {
			return r.tokenAt(n.Values[0].Key.GetToken(), fallback)
		}
	case *ast.MappingValueNode:
		return r.tokenAt(n.Key.GetToken(), fallback)
	}
	return r.tokenAt(node.GetToken(), fallback)
}

func (r *reader) tokenAt(t *token.Token, fallback string) string {
	if t == nil || t.Position == nil {
		return fallback
	}
	return fmt.Sprintf("%s:%d:%d", r.name, t.Position.Line, t.Position.Column)
}

// nothing reports whether no value stands behind a key.
func nothing(node ast.Node) bool {
	_, null := node.(*ast.NullNode)
	return node == nil || null
}

// entries returns the entries of a node that must be a mapping.
func (r *reader) entries(node ast.Node, where string) ([]entry, error) {
	if nothing(node) {
		return nil, nil
	}
	found, err := yamlfile.Mapping(r.name, node)
	if err != nil {
		if _, ok := node.(*ast.MappingNode); !ok {
			return nil, failure(r.at(node, where), "must be a mapping; write NAME: VALUE")
		}
		return nil, err
	}
	all := make([]entry, len(found))
	for i, e := range found {
		all[i] = entry{e.Key, e.Where, e.Value}
		switch n := node.(type) {
		case *ast.MappingNode:
			all[i].where = r.tokenAt(n.Values[i].Key.GetToken(), e.Where)
		case *ast.MappingValueNode:
			all[i].where = r.tokenAt(n.Key.GetToken(), e.Where)
		}
	}
	return all, nil
}

// scalar returns the text of a node that must be a single value, and its place.
func (r *reader) scalar(node ast.Node, where string) (text, place string, err error) {
	place = r.at(node, where)
	text, err = yamlfile.Scalar(r.name, node)
	if err != nil {
		return "", place, failure(place, "must be one value, not a list or a mapping")
	}
	return text, place, nil
}

func (r *reader) builtin(node ast.Node, where string) (off bool, err error) {
	text, place, err := r.scalar(node, where)
	switch {
	case err != nil:
		return false, err
	case text == "off" || text == "false":
		return true, nil
	case text == "on" || text == "true":
		return false, nil
	}
	return false, failure(place, "%q is not on or off", text)
}

var sensorName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)

func (r *reader) sensors(node ast.Node, file *parsedFile) error {
	all, err := r.entries(node, r.name)
	if err != nil {
		return err
	}
	if len(all) > maxSensors {
		return failure(all[maxSensors].where, "is one sensor too many; at most %d are allowed", maxSensors)
	}
	for _, e := range all {
		if !sensorName.MatchString(e.key) {
			return failure(e.where, "%q is no name for a sensor; use a to z, 0 to 9, _ and -, at most 64, a letter first", e.key)
		}
		if text, _, err := r.scalar(e.value, e.where); err == nil && (text == "off" || text == "false") {
			file.off = append(file.off, switchedOff{e.key, e.where})
			continue
		}
		d, err := r.sensor(e)
		if err != nil {
			return err
		}
		file.sensors = append(file.sensors, d)
	}
	return nil
}

func (r *reader) sensor(e entry) (Definition, error) {
	d := Definition{Name: e.key, Type: e.key, Severity: 50, CoolDown: 600 * time.Second, Where: e.where, window: window{kind: single}, key: keySource}
	all, err := r.entries(e.value, e.where)
	if err != nil {
		return d, err
	}
	if len(all) == 0 {
		return d, failure(e.where, "%s is empty; give it a filter, a key, a window and report_if, or write %s: off", e.key, e.key)
	}
	filterText := "none"
	d.filter = func(record) bool { return true }
	for _, one := range all {
		switch one.key {
		case "filter":
			d.filter, filterText, err = r.filter(one.value, one.where)
		case "key":
			d.key, err = r.key(one.value, one.where)
		case "window":
			d.window, err = r.window(one.value, one.where)
		case "report_if":
			d.condition, err = r.condition(one.value, one.where)
		case "details":
			d.details, err = r.details(one.value, one.where)
		default:
			err = r.plain(&d, one)
		}
		if err != nil {
			return d, err
		}
	}
	d.behaviour = fmt.Sprintf("%s|%d|%+v|%s", filterText, d.key, d.window, d.condition.text())
	return d, nil
}

// plain reads the keys that have one value.
func (r *reader) plain(d *Definition, e entry) error {
	text, place, err := r.scalar(e.value, e.where)
	if err != nil {
		return err
	}
	switch e.key {
	case "type":
		if !sensorName.MatchString(text) {
			return failure(place, "%q is no type of threat; use a to z, 0 to 9, _ and -, a letter first", text)
		}
		d.Type = text
	case "description":
		if len(text) > maxText {
			return failure(place, "is longer than %d characters", maxText)
		}
		d.Description = text
	case "severity":
		if d.Severity, err = strconv.Atoi(text); err != nil || d.Severity < 0 || d.Severity > 100 {
			return failure(place, "%q is not a whole number from 0 to 100", text)
		}
	case "cool-down":
		d.CoolDown, err = duration(text, place, time.Second, 24*time.Hour)
		return err
	default:
		return failure(e.where, "%s has no meaning here; a sensor has the keys filter, key, window, report_if, type, description, severity, cool-down and details", e.key)
	}
	return nil
}

func duration(text, place string, low, high time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if seconds, whole := strconv.Atoi(text); whole == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < low || d > high {
		return 0, failure(place, "%q is not a time from %s to %s, written as 60s, 10m or 1h", text, low, high)
	}
	return d, nil
}

func (r *reader) details(node ast.Node, where string) (list []detail, err error) {
	all, err := r.entries(node, where)
	if err != nil {
		return nil, err
	}
	if len(all) > maxDetails {
		return nil, failure(all[maxDetails].where, "is one detail too many; at most %d are allowed", maxDetails)
	}
	for _, e := range all {
		text, place, err := r.scalar(e.value, e.where)
		if err != nil {
			return nil, err
		}
		if ownDetails[e.key] {
			return nil, failure(e.where, "%s is a detail of vft's own; take another name", e.key)
		}
		if len(text) > maxText || len(e.key) > maxText {
			return nil, failure(place, "is longer than %d characters", maxText)
		}
		list = append(list, detail{e.key, text})
	}
	return list, nil
}
