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
	// Scale says what Parts are, and with that how far a value is from another.
	Scale Scale
	// Grain is how much of the numerator is one thing that happened: 1 for counts,
	// about a packet for bytes.
	Grain float64
	// Unit of the value, as "packets/s" or "share"; empty for a plain number.
	Unit string
	// Bulk: any ordinary transfer moves it, a download or a backup.
	Bulk bool
	// Twin names the statistic that says the same where all is IPv4; mostly empty.
	Twin string
	// Parts returns the numerator and the denominator, which is 0 when there is no
	// value. Neither is NaN, infinite or negative.
	Parts func(*Interval) (above, below float64)
}

// Scale is what the parts of a statistic are.
type Scale uint8

// The scales.
const (
	Plain Scale = iota // nothing is known of the parts
	Rate               // things that happened, by a time or by 1
	Share              // the part of the things below that are of a kind: at most all
	Ratio              // one count by another of other things
)

// Value returns the value, or false when there is none because the denominator is
// empty. It is never NaN nor infinite.
func (s *Statistic) Value(iv *Interval) (float64, bool) {
	above, below := s.Parts(iv)
	if below <= 0 {
		return 0, false
	}
	return above / below, true
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
	// Above and Below are the parts whose quotient is Value: a share of three packets
	// does not say as much as one of thousands. Below is 0 when they are not known.
	Above, Below float64
}

// AppendSamples appends the values of chosen in the interval to dst.
func AppendSamples(dst []Sample, iv *Interval, chosen []Statistic) []Sample {
	for i := range chosen {
		s := Sample{Name: chosen[i].Name, Start: iv.Start, End: iv.End}
		if s.Above, s.Below = chosen[i].Parts(iv); s.Below > 0 {
			s.Value, s.OK = s.Above/s.Below, true
		}
		dst = append(dst, s)
	}
	return dst
}

// seconds returns the length of the interval.
func (iv *Interval) seconds() float64 { return time.Duration(iv.End - iv.Start).Seconds() }
