package fleet

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"vft/correlate/known"
	"vft/yamlfile"
)

// setter writes the text of one key into its place.
type setter func(text string) error

// parseOver reads text over rules.
func parseOver(rules Rules, name string, text []byte) (Rules, error) {
	rules.Networks, rules.Ignore = slices.Clone(rules.Networks), slices.Clone(rules.Ignore)
	entries, err := yamlfile.Parse(name, text)
	if err != nil {
		return rules, err
	}
	top := rules.topKeys()
	for _, e := range entries {
		switch e.Key {
		case "networks":
			err = rules.networks(name, e)
		case "incident":
			err = mapping(name, e, rules.incidentKeys())
		case "ignore":
			err = rules.ignores(name, e)
		case "known":
			err = rules.known(name, e)
		case "rules":
			err = rules.rules(name, e)
		default:
			err = set(name, e, top)
		}
		if err != nil {
			return rules, err
		}
	}
	return rules, nil
}

func (r *Rules) topKeys() map[string]setter {
	return map[string]setter{
		"ipv6-prefix": whole(&r.IPv6Prefix, 16, 128),
		"keys":        whole(&r.Keys, 1024, 1<<22),
	}
}

func (r *Rules) incidentKeys() map[string]setter {
	return map[string]setter{
		"hold":           duration(&r.Hold, 0, time.Minute),
		"update-every":   duration(&r.UpdateEvery, 0, time.Hour),
		"quiet-max":      duration(&r.QuietMax, time.Second, 24*time.Hour),
		"max-open":       whole(&r.MaxOpen, 1, 1<<16),
		"raise-per-hour": whole(&r.RaisePerHour, 1, 10000),
	}
}

// keys are what every rule has, and what this one has besides.
func (r *Rule) keys(id RuleID) map[string]setter {
	keys := map[string]setter{
		"enabled":     inverted(&r.Off),
		"title":       text(&r.Title),
		"description": text(&r.Description),
		"technique":   text(&r.Technique),
		"severity":    whole(&r.Severity, 0, 100),
	}
	if id != SensorLost {
		keys["window"] = duration(&r.Window, time.Second, 7*24*time.Hour)
	}
	minClients, minSources := whole(&r.MinClients, 1, 8), whole(&r.MinSources, 1, 8)
	switch id {
	case Touch:
		keys["inside-severity"], keys["per-hour"] = whole(&r.InsideSeverity, 0, 100), whole(&r.PerHour, 0, 10000)
	case SamePort:
		keys["threshold"], keys["min-clients"], keys["min-sources"] = number(&r.Threshold, 1, 10000), minClients, minSources
	case SameSource:
		keys["threshold"], keys["min-clients"] = number(&r.Threshold, 1, 10000), minClients
	case SameClient:
		keys["threshold"], keys["min-sources"] = number(&r.Threshold, 1, 10000), minSources
	case HostScan:
		keys["threshold"], keys["probes"] = number(&r.Threshold, 1, maxContacts), whole(&r.Probes, 1, maxContacts)
	case PortCampaign:
		keys["threshold"], keys["min-sources"] = number(&r.Threshold, 1, 8), minSources
		keys["probability"], keys["floor"] = number(&r.Probability, 0, 1), number(&r.Floor, 1e-6, 1e6)
	case Victim:
		keys["threshold"], keys["factor"] = number(&r.Threshold, 1, 8), number(&r.Factor, 1, 1e6)
	case SlowScan:
		keys["threshold"], keys["keep"] = number(&r.Threshold, 1, 1e11), duration(&r.Keep, time.Minute, 30*24*time.Hour)
		keys["scanner"], keys["other"] = number(&r.Scanner, 1e-6, 1), number(&r.Other, 1e-6, 1)
	case Sweep:
		keys["threshold"] = number(&r.Threshold, 1, maxContacts)
	}
	return keys
}

func (r *Rules) rules(name string, e yamlfile.Entry) error {
	entries, err := yamlfile.Mapping(name, value(e))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		id := slices.Index(ruleNames[:], entry.Key)
		if id < 0 {
			return yamlfile.Errorf(entry.Where, "%s is no rule; there are %v", entry.Key, ruleNames)
		}
		rule := &r.Rule[id]
		if err := mapping(name, entry, rule.keys(RuleID(id))); err != nil {
			return err
		}
		if RuleID(id) == SlowScan && rule.Scanner <= rule.Other {
			return yamlfile.Errorf(entry.Place(), "scanner %v must be greater than other %v", rule.Scanner, rule.Other)
		}
	}
	return nil
}

func (r *Rules) networks(name string, e yamlfile.Entry) error {
	r.Networks = nil
	for _, item := range yamlfile.Items(e.Value) {
		s, err := yamlfile.Scalar(name, item)
		if err != nil {
			return err
		}
		var prefix netip.Prefix
		if err := network(&prefix)(s); err != nil {
			return yamlfile.Errorf(yamlfile.Place(name, item)+": networks", "%v", err)
		}
		r.Networks = append(r.Networks, prefix)
	}
	return nil
}

// maxIgnores keeps the walk over them short: every event goes through all.
const maxIgnores = 1000

func (r *Rules) ignores(name string, e yamlfile.Entry) error {
	r.Ignore = nil
	items := yamlfile.Items(e.Value)
	if len(items) > maxIgnores {
		return yamlfile.Errorf(e.Place(), "has %d entries; at most %d are allowed", len(items), maxIgnores)
	}
	for _, item := range items {
		var one Ignore
		entry := yamlfile.Entry{Key: "ignore", Where: yamlfile.Place(name, item), Value: item}
		if err := mapping(name, entry, map[string]setter{
			"source": network(&one.Source), "network": network(&one.Network), "port": port(&one.Port), "client": text(&one.Client),
			"type": findingType(&one.Type), "tool": text(&one.Tool), "until": day(&one.Until),
		}); err != nil {
			return err
		}
		if one == (Ignore{Until: one.Until}) {
			return yamlfile.Errorf(entry.Place(), "would ignore everything; give source, network, port, client, type or tool")
		}
		r.Ignore = append(r.Ignore, one)
	}
	return nil
}

// known reads the lists of hosts that do by right what would be an attack by others.
func (r *Rules) known(name string, e yamlfile.Entry) error {
	roles, err := yamlfile.Mapping(name, value(e))
	if err != nil {
		return err
	}
	r.Known = &known.Lists{}
	for _, list := range roles {
		role := slices.Index(known.RoleNames(), list.Key)
		if role < 0 {
			return yamlfile.Errorf(list.Where, "%s is no kind of known hosts; there are %v", list.Key, known.RoleNames())
		}
		for _, item := range yamlfile.Items(list.Value) {
			place := yamlfile.Place(name, item) + ": " + list.Key
			s, err := yamlfile.Scalar(name, item)
			if err != nil {
				return err
			}
			var one netip.Prefix
			if err := network(&one)(s); err != nil {
				return yamlfile.Errorf(place, "%v", err)
			}
			if !r.Known.Add(known.Role(role), one) {
				return yamlfile.Errorf(place, "has too many addresses and networks; write them as fewer, wider networks")
			}
		}
	}
	return nil
}

// mapping reads the entries under e.
func mapping(name string, e yamlfile.Entry, keys map[string]setter) error {
	entries, err := yamlfile.Mapping(name, value(e))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := set(name, entry, keys); err != nil {
			return err
		}
	}
	return nil
}

// value is the node of e; a key with nothing after it is an empty mapping.
func value(e yamlfile.Entry) ast.Node {
	if e.Value == nil {
		return &ast.NullNode{}
	}
	return e.Value
}

func set(name string, e yamlfile.Entry, keys map[string]setter) error {
	write, ok := keys[e.Key]
	if !ok {
		return yamlfile.Errorf(e.Where, "%s has no meaning here; vft config show --rules prints what has", e.Key)
	}
	text, err := yamlfile.Scalar(name, e.Value)
	if err != nil {
		return err
	}
	if err := write(text); err != nil {
		return yamlfile.Errorf(e.Place(), "%v", err)
	}
	return nil
}

func text(at *string) setter {
	return func(s string) error { *at = s; return nil }
}

func inverted(off *bool) setter {
	return func(s string) error {
		on, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q is not true or false", s)
		}
		*off = !on
		return nil
	}
}

func whole(at *int, low, high int) setter {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q is not a whole number from %d to %d", s, low, high)
		}
		*at = n
		return nil
	}
}

func number(at *float64, low, high float64) setter {
	return func(s string) error {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(n) || n < low || n > high {
			return fmt.Errorf("%q is not a number from %g to %g", s, low, high)
		}
		*at = n
		return nil
	}
}

func duration(at *time.Duration, low, high time.Duration) setter {
	return func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < low || d > high {
			return fmt.Errorf("%q is not a time from %s to %s, written as 60s, 10m or 1h", s, low, high)
		}
		*at = d
		return nil
	}
}

// findingType reads the type of a finding. Sensors of a user have types of their own,
// so only the form can be checked.
func findingType(at *string) setter {
	return func(s string) error {
		if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return fmt.Errorf("%q is no type of finding, as vertical_scan or beacon", s)
		}
		*at = s
		return nil
	}
}

func port(at *uint16) setter {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%q is not a port from 1 to 65535", s)
		}
		*at = uint16(n)
		return nil
	}
}

// network reads an address or a prefix.
func network(at *netip.Prefix) setter {
	return func(s string) error {
		if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
			*at = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
			return nil
		}
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return fmt.Errorf("%q is not an address or a network, as 10.0.0.0/8", s)
		}
		*at = prefix.Masked()
		return nil
	}
}

func day(at *time.Time) setter {
	return func(s string) error {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if t, err := time.Parse(layout, s); err == nil {
				*at = t.UTC()
				return nil
			}
		}
		return fmt.Errorf("%q is not a date, as 2030-01-31 or 2030-01-31T12:00:00Z", s)
	}
}
