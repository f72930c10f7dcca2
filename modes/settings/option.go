package settings

import (
	"strings"

	"vft/yamlfile"
)

// Option is one setting as a user gives it: the flag, the variable and the key
// of the file have one name.
type Option struct {
	Name    string   // long flag, words joined by dashes
	Aliases []string // other flags that mean the same
	Envs    []string // other variables that mean the same, where the own one is not set
	Default string   // text, as a user would write it
	Value   Value    // the fields that it sets
	Usage   string
	Secret  bool // shown as "redacted" wherever a configuration is printed
	Modes   Mode // where it counts
	Reload  Mode // where a running vft takes a change
}

// Mode is a set of subcommands.
type Mode uint8

// The subcommands that take options.
const (
	ServerMode Mode = 1 << iota
	ClientMode
	StandaloneMode
	Hosts = ClientMode | StandaloneMode // what runs on a watched host
	All   = ServerMode | Hosts
)

// Env returns the name of the environment variable of o.
func (o *Option) Env() string {
	return "VFT_" + strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))
}

// Flags returns every name under which o can be given on the command line:
// its own, its aliases, and each of them with underscores for dashes.
func (o *Option) Flags() []string {
	names := append([]string{o.Name}, o.Aliases...)
	for _, n := range names {
		if u := strings.ReplaceAll(n, "-", "_"); u != n {
			names = append(names, u)
		}
	}
	return names
}

// Origin says where a value came from.
type Origin struct {
	Layer string // "flag", "environment", "file" or "default"
	Where string // "--bind", "VFT_BIND", "vft.yaml:12"; empty for a default
}

func (o Origin) String() string {
	if o.Where == "" {
		return o.Layer
	}
	return o.Layer + " " + o.Where
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

// Error is a configuration that cannot be used: where the value stands
// ("--traps", "VFT_TRAPS", "vft.yaml:3: traps"), what is wrong with it and
// what is allowed.
type Error = yamlfile.Error

// Input is one flag as the command line parser sees it: it collects the texts
// in the order in which they were given. It implements flag.Value.
type Input struct {
	Texts  []string
	IsBool bool
}

// Set takes one more text.
func (f *Input) Set(text string) error {
	f.Texts = append(f.Texts, text)
	return nil
}

// String returns the last text.
func (f *Input) String() string {
	if f == nil || len(f.Texts) == 0 {
		return ""
	}
	return f.Texts[len(f.Texts)-1]
}

// IsBoolFlag tells the parser that the flag may stand without a value.
func (f *Input) IsBoolFlag() bool { return f.IsBool }
