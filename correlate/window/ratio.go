package window

import "math"

// Ratio is the likelihood ratio of a threshold random walk (Jung, Paxson,
// Berger and Balakrishnan, "Fast Portscan Detection Using Sequential Hypothesis
// Testing", 2004): each first contact with a trap multiplies it by the chance
// that a scanner makes it over the chance that anybody else does.
type Ratio struct {
	Scanner float64 // chance of a contact, given a scanner; 0.5
	Other   float64 // chance of a contact, given anybody else; 0.02
	Flag    float64 // a scanner is flagged from this ratio on; 99
}

// Value returns the ratio after n first contacts.
func (r Ratio) Value(n int) float64 { return math.Pow(r.Scanner/r.Other, float64(n)) }

// Flags reports whether n first contacts flag a scanner.
func (r Ratio) Flags(n int) bool { return r.Value(n) >= r.Flag }
