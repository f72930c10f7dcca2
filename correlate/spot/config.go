package spot

import (
	"fmt"
	"math"
)

// MinPeaks is the number of values beyond the level t from which a tail is
// fitted.
const MinPeaks = 10

// Config holds the parameters of a Spot. The zero value is not valid: start from
// DefaultConfig.
type Config struct {
	Q         float64 `json:"q"`          // probability of an anomaly, 0 < Q < 1 - Level
	Level     float64 `json:"level"`      // quantile of the first values that becomes t, 0 <= Level < 1
	NInit     int     `json:"n_init"`     // values that calibrate, more than Depth
	Depth     int     `json:"depth"`      // values of the moving mean; 0: none (SPOT)
	MaxExcess int     `json:"max_excess"` // newest values beyond t that are kept, at least MinPeaks
	Up        bool    `json:"up"`         // watch the upper tail
	Down      bool    `json:"down"`       // watch the lower tail

	// With ClampGamma the shape of the tails stays within [GammaMin, GammaMax]:
	// the most likely distribution among those is taken. Without, gamma is only
	// held at or above -1, below which the likelihood has no maximum.
	ClampGamma bool    `json:"clamp_gamma,omitempty"`
	GammaMin   float64 `json:"gamma_min,omitempty"`
	GammaMax   float64 `json:"gamma_max,omitempty"`
}

// DefaultConfig returns q 1e-4, level 0.98, 1000 first values, a moving mean of
// 50, 200 excesses, the upper tail alone, gamma not clamped.
func DefaultConfig() Config {
	return Config{Q: 1e-4, Level: 0.98, NInit: 1000, Depth: 50, MaxExcess: 200, Up: true}
}

// Validate says what is wrong with the first parameter that is.
func (c Config) Validate() error {
	switch {
	case !(c.Level >= 0 && c.Level < 1):
		return fmt.Errorf("cannot use level %v: it must be at least 0 and below 1", c.Level)
	case !(c.Q > 0 && c.Q < 1-c.Level):
		return fmt.Errorf("cannot use q %v with level %v: it must be above 0 and below 1 - level", c.Q, c.Level)
	case c.MaxExcess < MinPeaks:
		return fmt.Errorf("cannot use max_excess %d: it must be at least %d", c.MaxExcess, MinPeaks)
	case c.Depth < 0:
		return fmt.Errorf("cannot use depth %d: it must be 0 (no moving mean) or more", c.Depth)
	case c.NInit <= c.Depth:
		return fmt.Errorf("cannot use n_init %d with depth %d: it must be larger", c.NInit, c.Depth)
	case !c.Up && !c.Down:
		return fmt.Errorf("cannot watch nothing: set up, down or both")
	case c.ClampGamma && !(c.GammaMin >= -1 && c.GammaMin <= c.GammaMax && c.GammaMax <= math.MaxFloat64):
		return fmt.Errorf("cannot keep gamma within [%v, %v]: the lower end must be at least -1 and not above the upper one", c.GammaMin, c.GammaMax)
	}
	return nil
}

// limit returns the range that gamma may take.
func (c Config) limit() gammaRange {
	if c.ClampGamma {
		return gammaRange{c.GammaMin, c.GammaMax}
	}
	return gammaRange{-1, math.Inf(1)}
}
