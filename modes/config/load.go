package config

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/v2"

	"vft/yamlfile"
)

// Source is what a configuration is read from.
type Source struct {
	Options []Option
	Flags   map[string]*Input           // by option name; nil or empty: not given
	Env     func(string) (string, bool) // os.LookupEnv
	Mode    Mode                        // whose defaults and options count; All to check everything
	Changes map[string]string           // other defaults, by option name
}

// Values are the checked settings of one run.
type Values struct {
	layers  *koanf.Koanf // option name -> texts, merged
	origins map[string]Origin
	parsed  map[string]any
	options []Option
}

// Load reads and checks a configuration. Its error is an *Error that names
// the flag, the variable, or file, line and key.
func Load(src Source) (*Values, error) {
	v := &Values{layers: koanf.New("\x00"), origins: map[string]Origin{}, parsed: map[string]any{}, options: src.Options}
	file, err := src.file()
	if err != nil {
		return nil, err
	}
	for _, layer := range []map[string]given{src.defaults(), file, src.environment(), src.flags()} {
		if err := v.merge(layer); err != nil {
			return nil, err
		}
	}
	return v, v.check(src.Mode)
}

// given is one value before it is checked.
type given struct {
	texts  []string
	origin Origin
}

func (src *Source) defaults() map[string]given {
	layer := map[string]given{}
	for _, o := range src.Options {
		text := o.Default
		if other, ok := src.Changes[o.Name]; ok {
			text = other
		}
		layer[o.Name] = given{[]string{text}, Origin{Layer: "default"}}
	}
	return layer
}

func (src *Source) environment() map[string]given {
	layer := map[string]given{}
	for _, o := range src.Options {
		for _, name := range append([]string{o.Env()}, o.Envs...) {
			if text, ok := src.Env(name); ok && (text != "" || o.Kind.List) {
				layer[o.Name] = given{[]string{text}, Origin{"environment", name}}
				break
			}
		}
	}
	return layer
}

func (src *Source) flags() map[string]given {
	layer := map[string]given{}
	for name, input := range src.Flags {
		if input != nil && len(input.Texts) > 0 {
			layer[name] = given{input.Texts, Origin{"flag", "--" + name}}
		}
	}
	return layer
}

// file reads the YAML file that --config or VFT_CONFIG names.
func (src *Source) file() (map[string]given, error) {
	path, _ := src.Env("VFT_CONFIG")
	if input := src.Flags["config"]; input != nil && len(input.Texts) > 0 {
		path = input.String()
	}
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, yamlfile.Errorf("--config", "cannot read %s: %v; name a YAML file", path, reason(err))
	}
	return parseFile(path, text, src.Options)
}

// reason cuts the operation and path from an *os.PathError.
func reason(err error) error {
	if inner, ok := err.(*os.PathError); ok {
		return inner.Err
	}
	return err
}

// merge lays a layer over what is there.
func (v *Values) merge(layer map[string]given) error {
	texts := map[string]any{}
	for name, g := range layer {
		texts[name] = g.texts
		v.origins[name] = g.origin
	}
	return v.layers.Load(provider(texts), nil)
}

// check parses every value, in the order of the options, and refuses values
// that do not belong to the mode.
func (v *Values) check(mode Mode) error {
	for _, o := range v.options {
		from := v.origins[o.Name]
		if o.Modes&mode == 0 {
			if from.Layer == "flag" {
				return yamlfile.Errorf(from.Where, "is not an option of this command; see --help")
			}
			continue
		}
		parsed, err := o.Kind.read(v.texts(o.Name))
		if err != nil && (from.Layer != "default" || o.Default != "") {
			return yamlfile.Errorf(from.place(o.Name), "%v", err)
		}
		v.parsed[o.Name] = parsed
	}
	return nil
}

// place names a value for an error.
func (o Origin) place(name string) string {
	switch o.Layer {
	case "file":
		return o.Where + ": " + name
	case "default":
		return "--" + name
	}
	return o.Where
}

func (v *Values) texts(name string) []string {
	texts, _ := v.layers.Get(name).([]string)
	return texts
}

// provider hands a map to koanf.
type provider map[string]any

func (p provider) Read() (map[string]any, error) { return maps.Clone(p), nil }
func (p provider) ReadBytes() ([]byte, error)    { return nil, fmt.Errorf("a map has no bytes") }

// Origin says where the value of name came from.
func (v *Values) Origin(name string) Origin { return v.origins[name] }

// Given reports whether somebody set name: it is not a default.
func (v *Values) Given(name string) bool { return v.origins[name].Layer != "default" }

// Place names the value of name for an error message.
func (v *Values) Place(name string) string { return v.origins[name].place(name) }

// Invalid returns an *Error about the value of name.
func (v *Values) Invalid(name, format string, args ...any) error {
	return yamlfile.Errorf(v.Place(name), format, args...)
}

// Text returns the value of an option of kind Text, OneOf or HostPort.
func (v *Values) Text(name string) string { s, _ := v.parsed[name].(string); return s }

// Bool returns the value of an option of kind Bool.
func (v *Values) Bool(name string) bool { b, _ := v.parsed[name].(bool); return b }

// Int returns the value of an option of kind Int.
func (v *Values) Int(name string) int { n, _ := v.parsed[name].(int); return n }

// Number returns the value of an option of kind Number or Bytes.
func (v *Values) Number(name string) float64 { n, _ := v.parsed[name].(float64); return n }

// Duration returns the value of an option of kind Duration.
func (v *Values) Duration(name string) time.Duration {
	d, _ := v.parsed[name].(time.Duration)
	return d
}

// List returns the value of an option whose kind is a list of T.
func List[T any](v *Values, name string) []T {
	all, _ := v.parsed[name].([]any)
	out := make([]T, 0, len(all))
	for _, one := range all {
		out = append(out, one.(T))
	}
	return out
}

// passwords are the names and passwords of URLs.
var passwords = regexp.MustCompile(`://[^/@,]*@`)

// Setting is one value as `vft config show` prints it.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"`
}

// All returns every value of the mode with its origin, secrets redacted.
func (v *Values) All() []Setting {
	var all []Setting
	for _, o := range v.options {
		if _, ok := v.parsed[o.Name]; !ok {
			continue
		}
		value := strings.Join(v.texts(o.Name), ",")
		if o.Secret && value != "" {
			value = "redacted"
		}
		value = passwords.ReplaceAllString(value, "://redacted@")
		all = append(all, Setting{o.Name, value, v.origins[o.Name].String()})
	}
	return all
}

// Differences returns the names of the options whose values differ.
func (v *Values) Differences(other *Values) []string {
	var names []string
	for _, o := range v.options {
		if !slices.Equal(v.texts(o.Name), other.texts(o.Name)) {
			names = append(names, o.Name)
		}
	}
	return names
}
