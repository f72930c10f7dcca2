package settings

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"

	"vft/setting"
	"vft/yamlfile"
)

// Source is what settings are read from.
type Source struct {
	Flags   map[string]*Input           // by option name; nil or empty: not given
	Env     func(string) (string, bool) // os.LookupEnv
	Mode    Mode                        // whose defaults and options count; All to check everything
	Changes map[string]string           // other defaults, by option name
}

// layers are the texts that were given, and where: defaults under the file under
// the environment under the flags.
type layers struct {
	options []Option
	mode    Mode
	texts   *koanf.Koanf // by option name, merged
	origins map[string]Origin
}

// givenText is one value before it is checked.
type givenText struct {
	texts  []string
	origin Origin
}

// read sets the fields of the options. Its error is an *Error that names the
// flag, the variable, or file, line and key.
func read(options []Option, src *Source) (*layers, error) {
	l := &layers{options: options, mode: src.Mode, texts: koanf.New("\x00"), origins: map[string]Origin{}}
	file, err := src.file(options)
	if err != nil {
		return l, err
	}
	for _, layer := range []map[string]givenText{src.defaults(options), file, src.environment(options), src.flags()} {
		if err := l.merge(layer); err != nil {
			return l, err
		}
	}
	return l, l.set()
}

func (src *Source) defaults(options []Option) map[string]givenText {
	layer := map[string]givenText{}
	for _, o := range options {
		text := o.Default
		if other, ok := src.Changes[o.Name]; ok {
			text = other
		}
		layer[o.Name] = givenText{[]string{text}, Origin{Layer: "default"}}
	}
	return layer
}

func (src *Source) environment(options []Option) map[string]givenText {
	layer := map[string]givenText{}
	for _, o := range options {
		for _, name := range append([]string{o.Env()}, o.Envs...) {
			if text, ok := src.Env(name); ok && (text != "" || o.Value.List) {
				layer[o.Name] = givenText{[]string{text}, Origin{"environment", name}}
				break
			}
		}
	}
	return layer
}

func (src *Source) flags() map[string]givenText {
	layer := map[string]givenText{}
	for name, input := range src.Flags {
		if input != nil && len(input.Texts) > 0 {
			layer[name] = givenText{input.Texts, Origin{"flag", "--" + name}}
		}
	}
	return layer
}

// file reads the YAML file that --config or VFT_CONFIG names.
func (src *Source) file(options []Option) (map[string]givenText, error) {
	path, _ := src.Env("VFT_CONFIG")
	if input := src.Flags["config"]; input != nil && len(input.Texts) > 0 {
		path = input.String()
	}
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, yamlfile.Errorf("--config", "cannot read %s: %v; name a YAML file", path, pathReason(err))
	}
	return parseFile(path, text, options)
}

// pathReason cuts the operation and path from an *os.PathError.
func pathReason(err error) error {
	if inner, ok := err.(*os.PathError); ok {
		return inner.Err
	}
	return err
}

// merge lays a layer over what is there.
func (l *layers) merge(layer map[string]givenText) error {
	texts := map[string]any{}
	for name, g := range layer {
		texts[name] = g.texts
		l.origins[name] = g.origin
	}
	return l.texts.Load(provider(texts), nil)
}

// set parses every value into its fields, in the order of the options, and
// refuses values that do not belong to the mode.
func (l *layers) set() error {
	for i := range l.options {
		o := &l.options[i]
		from := l.origins[o.Name]
		if o.Modes&l.mode == 0 {
			if from.Layer == "flag" {
				return yamlfile.Errorf(from.Where, "is not an option of this command; see --help")
			}
			continue
		}
		if err := o.Value.set(l.textsOf(o)); err != nil && (from.Layer != "default" || o.Default != "") {
			return yamlfile.Errorf(from.place(o.Name), "%v", err)
		}
	}
	return nil
}

func (l *layers) textsOf(o *Option) []string {
	texts, _ := l.texts.Get(o.Name).([]string)
	return texts
}

// provider hands a map to koanf.
type provider map[string]any

func (p provider) Read() (map[string]any, error) { return maps.Clone(p), nil }
func (p provider) ReadBytes() ([]byte, error)    { return nil, fmt.Errorf("a map has no bytes") }

// optionOf returns the option that sets a field.
func (l *layers) optionOf(field any) *Option {
	i := slices.IndexFunc(l.options, func(o Option) bool { return slices.Contains(o.Value.fields, field) })
	if i < 0 {
		panic(fmt.Sprintf("no option sets a field of type %T", field)) // a mistake in vft that every test of the field shows
	}
	return &l.options[i]
}

// Origin says where the value of a field came from. Field is a pointer to it.
func (l *layers) Origin(field any) Origin { return l.origins[l.optionOf(field).Name] }

// Given reports whether somebody set a field: it is not a default.
func (l *layers) Given(field any) bool { return l.Origin(field).Layer != "default" }

// Invalid returns an *Error about the value of a field.
func (l *layers) Invalid(field any, format string, args ...any) error {
	o := l.optionOf(field)
	return yamlfile.Errorf(l.origins[o.Name].place(o.Name), format, args...)
}

// Placed turns a *setting.Error of a room into an *Error, and leaves others as
// they are.
func (l *layers) Placed(err error) error {
	var bad *setting.Error
	if !errors.As(err, &bad) {
		return err
	}
	return l.Invalid(bad.Field, "%v", bad.Err)
}

// passwords are the names and passwords of URLs.
var passwords = regexp.MustCompile(`://[^/@,]*@`)

// Shown is one value as `vft config show` prints it.
type Shown struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"`
}

// Show returns every value of the mode with its origin, secrets redacted.
func (l *layers) Show() []Shown {
	var all []Shown
	for i := range l.options {
		o := &l.options[i]
		if o.Modes&l.mode == 0 {
			continue
		}
		value := strings.Join(l.textsOf(o), ",")
		if o.Secret && value != "" {
			value = "redacted"
		}
		value = passwords.ReplaceAllString(value, "://redacted@")
		all = append(all, Shown{o.Name, value, l.origins[o.Name].String()})
	}
	return all
}

// restart returns the names of the options of the mode whose values differ in
// other and that do not change while vft runs.
func (l *layers) restart(other *layers) []string {
	var names []string
	for i := range l.options {
		o := &l.options[i]
		if o.Modes&l.mode != 0 && o.Reload&l.mode == 0 && !slices.Equal(l.textsOf(o), other.textsOf(o)) {
			names = append(names, o.Name)
		}
	}
	return names
}
