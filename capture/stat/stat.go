// Package stat counts packets per interval and over a whole capture, and makes
// statistics of the counts, by name. Raw counts of several shards are merged
// before a ratio is made of them. To add a counter or a statistic, add one row
// to counters.go or ratios.go.
package stat

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Statistic is one number per interval, by name.
type Statistic struct {
	Name        string // as users type it
	Description string
	// Monitored: a detector may watch it. Counters and ratios of the traffic
	// are; the speed of the processing is not.
	Monitored bool
	Ratio     bool // made of several counters; "all" means these
	// Value returns the value, or false when there is none because a
	// denominator is empty. It is never NaN nor infinite.
	Value func(*Interval) (float64, bool)
}

// All returns every counter and statistic, in the order of the documentation.
func All() []Statistic { return slices.Concat(counters(), ratios()) }

// Select returns the named statistics in the order of All; "all" stands for all
// monitored ratios. A name that does not exist is an error that lists those
// that do.
func Select(names []string) ([]Statistic, error) {
	all := All()
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[strings.ToUpper(strings.TrimSpace(name))] = true
	}
	var chosen []Statistic
	for _, s := range all {
		if wanted[s.Name] || wanted["ALL"] && s.Ratio && s.Monitored {
			chosen = append(chosen, s)
		}
		delete(wanted, s.Name)
	}
	delete(wanted, "ALL")
	for name := range wanted {
		return nil, fmt.Errorf("no statistic %q; there are all, %s", name, strings.Join(Names(), ", "))
	}
	return chosen, nil
}

// Names returns the names of All.
func Names() []string {
	var names []string
	for _, s := range All() {
		names = append(names, s.Name)
	}
	return names
}

// Sample is the value of one statistic in one interval.
type Sample struct {
	Name       string
	Value      float64 // valid iff OK
	OK         bool    // false: an empty denominator
	Start, End int64   // of the interval, nanoseconds since 1970
}

// AppendSamples appends the values of chosen in the interval to dst.
func AppendSamples(dst []Sample, iv *Interval, chosen []Statistic) []Sample {
	for i := range chosen {
		value, ok := chosen[i].Value(iv)
		dst = append(dst, Sample{chosen[i].Name, value, ok, iv.Start, iv.End})
	}
	return dst
}

// seconds returns the length of the interval.
func (iv *Interval) seconds() float64 { return time.Duration(iv.End - iv.Start).Seconds() }
