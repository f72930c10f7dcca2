package sensor

import (
	_ "embed"
	"slices"
	"time"
)

//go:embed sensors.yaml
var builtIn []byte

// BuiltIn returns the file of the built-in sensors, with comments for those who
// want to change it.
func BuiltIn() []byte { return slices.Clone(builtIn) }

// Definitions are sensors in the order in which they look at a flow: the
// built-in ones first.
type Definitions []Definition

// Definition is one sensor as a file describes it.
type Definition struct {
	Name        string
	Type        string // vft.threat.type; the name where the file says nothing
	Description string
	Severity    int           // 0 to 100
	CoolDown    time.Duration // after a threat its key makes no other for so long
	Where       string        // the file and line that define it

	details   []detail // of the user, added to each threat
	filter    filter
	key       keyWords
	window    window
	condition *condition // nil: any flow in the window
	behaviour string     // equal texts mean equal windows; see same
}

// detail is one entry of vft.threat.details.
type detail struct{ name, value string }

// Parse reads a file of sensors. The built-in ones come with it: a sensor of the
// same name takes the place of the built-in one, `NAME: off` removes one, and
// `builtin: off` all of them; so an empty text gives the built-in ones. An error
// is one line that begins with name:line:column and says what is wrong and what
// is allowed.
func Parse(name string, text []byte) (Definitions, error) {
	base, err := parseFile("sensors.yaml", builtIn)
	if err != nil {
		return nil, err
	}
	file, err := parseFile(name, text)
	if err != nil {
		return nil, err
	}
	if file.noBuiltIn {
		return file.sensors, nil
	}
	return base.sensors.over(file)
}

// over returns d changed by a file.
func (d Definitions) over(file parsedFile) (Definitions, error) {
	all := slices.Clone(d)
	for _, off := range file.off {
		at := all.index(off.name)
		if at < 0 {
			return nil, failure(off.where, "%s is no built-in sensor, so it cannot be off; there are %v", off.name, d.Names())
		}
		all = slices.Delete(all, at, at+1)
	}
	for _, s := range file.sensors {
		if at := all.index(s.Name); at >= 0 {
			all[at] = s
		} else {
			all = append(all, s)
		}
	}
	return all, nil
}

// Names returns the names of the sensors.
func (d Definitions) Names() []string {
	names := make([]string, len(d))
	for i := range d {
		names[i] = d[i].Name
	}
	return names
}

func (d Definitions) index(name string) int {
	return slices.IndexFunc(d, func(one Definition) bool { return one.Name == name })
}
