// Package config turns flags, environment, a YAML file and defaults into
// checked values. An option has one name everywhere: --trap-ports, the
// variable VFT_TRAP_PORTS and the key trap-ports of the file are the same.
//
// Precedence: flag, environment, file, default. Every value remembers where
// it came from, and an error names that place.
package config

import (
	"strings"

	"vft/yamlfile"
)

// Option is one setting.
type Option struct {
	Name    string   // long flag, words joined by dashes
	Aliases []string // other flags that mean the same
	Envs    []string // other variables that mean the same, where the own one is not set
	Default string   // text, as a user would write it
	Kind    Kind
	Usage   string
	Secret  bool // shown as "redacted" wherever a configuration is printed
	Modes   Mode
}

// Mode is a set of subcommands.
type Mode uint8

// The subcommands that take options.
const (
	Server Mode = 1 << iota
	Client
	Standalone
	Hosts = Client | Standalone // what runs on a watched host
	All   = Server | Hosts
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
