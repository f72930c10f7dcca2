package anomalyzer

//lint:file-ignore ST1005 the texts of the first errors are the original's, word for word

import "fmt"

// NA, the smallest number above 0, as LowerBound stands for "there is no lower
// bound". The original returns it for a test that does not apply.
const NA = 5e-324

// The defaults of a Config.
const (
	DefaultSensitivity = 0.1
	DefaultNSeasons    = 4
	DefaultPermCount   = 500
	DefaultThreshold   = 0.6
	DefaultCap         = 30
)

// Config says how series are evaluated. Of the fields with a default, 0 means it.
type Config struct {
	Methods     []string // tests by name; empty: magnitude and ks
	ActiveSize  int      // values of the active window, at least 1
	NSeasons    int      // the reference window is so many active ones, 4 values at least
	Sensitivity float64  // magnitude below which the probability is 0, at most 1
	UpperBound  float64  // fence
	LowerBound  float64  // fence; NA: none
	PermCount   int      // shuffles of a permutation test
	Delay       bool     // give 0 until reference and active window are full
	Threshold   float64  // probability above which a result is anomalous, at most 1

	// Cap is the number of values that Push keeps per series; the default is 30, or
	// the size of both windows if that is more. Permutation tests shuffle all of
	// them. A Cap below the size of both windows makes the reference shorter, and is
	// refused with Delay.
	Cap int
	// Seed is the start of the random numbers of the permutation tests.
	Seed uint64
	// WindowOnly makes the permutation tests shuffle reference and active window
	// alone. The original shuffles everything it has.
	WindowOnly bool
	// Compatible follows the original in every detail that this package improves,
	// see the package comment.
	Compatible bool
}

// complete returns the configuration with its defaults and its methods, or what is
// wrong with it in the words of the original, the first error first.
func (c Config) complete() (Config, []Method, error) {
	if len(c.Methods) == 0 {
		c.Methods = []string{"magnitude", "ks"}
	}
	methods, err := parseMethods(c.Methods)
	if err != nil {
		return c, nil, err
	}
	c.setDefaults()
	return c, methods, c.check(methods)
}

func parseMethods(names []string) ([]Method, error) {
	var methods []Method
	for _, name := range names {
		m, ok := methodByName(name)
		if !ok {
			return nil, fmt.Errorf("Unsupported detection method '%s'", name)
		}
		methods = append(methods, m)
	}
	return methods, nil
}

func (c *Config) setDefaults() {
	if c.Sensitivity == 0 {
		c.Sensitivity = DefaultSensitivity
	}
	if c.NSeasons == 0 {
		c.NSeasons = DefaultNSeasons
	}
	if c.PermCount == 0 {
		c.PermCount = DefaultPermCount
	}
	if c.Threshold == 0 {
		c.Threshold = DefaultThreshold
	}
	if c.Cap == 0 {
		c.Cap = max(DefaultCap, c.ActiveSize*(c.NSeasons+1))
	}
}

func (c *Config) check(methods []Method) error {
	switch {
	case c.ActiveSize < 1:
		return fmt.Errorf("Active window size must be at least of size 1")
	case c.NSeasons*c.ActiveSize < 4:
		return fmt.Errorf("The combination of active window (%d) and nseasons (%d) yields a reference window that is too small for analysis.  Please increase one or both.", c.ActiveSize, c.NSeasons)
	}
	for _, m := range methods {
		switch {
		case m != Fence:
		case c.UpperBound == c.LowerBound:
			return fmt.Errorf("Fence test included with identical bounds on the fences")
		case c.UpperBound < c.LowerBound:
			return fmt.Errorf("UpperBound (%v) was lower than the LowerBound (%v)", c.UpperBound, c.LowerBound)
		case c.UpperBound != c.UpperBound || c.LowerBound != c.LowerBound:
			return fmt.Errorf("cannot use NaN as a bound of the fence")
		}
	}
	switch {
	case !c.Compatible && !(c.Sensitivity >= 0 && c.Sensitivity <= 1):
		return fmt.Errorf("cannot use sensitivity %v: it must be between 0 and 1", c.Sensitivity)
	case !(c.Threshold >= 0 && c.Threshold <= 1):
		return fmt.Errorf("cannot use threshold %v: it must be between 0 and 1", c.Threshold)
	case c.PermCount < 1:
		return fmt.Errorf("cannot make %d permutations: at least 1 is needed", c.PermCount)
	case c.Cap < 2*c.ActiveSize:
		return fmt.Errorf("cannot keep %d values per series: an active window of %d needs at least %d", c.Cap, c.ActiveSize, 2*c.ActiveSize)
	case c.Delay && c.Cap < c.ActiveSize*(c.NSeasons+1):
		return fmt.Errorf("cannot keep %d values per series: nothing is judged before there are %d, an active window of %d and %d times as many before it",
			c.Cap, c.ActiveSize*(c.NSeasons+1), c.ActiveSize, c.NSeasons)
	}
	return nil
}
