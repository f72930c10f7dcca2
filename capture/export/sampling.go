package export

import "math/bits"

// sampling is what is known of the sampling of an exporter.
type sampling struct {
	override uint32 // of the configuration; 0: none
	general  uint32 // of the exporter as a whole; 0: not known
}

// rate returns the rate for records that state own; 0: nothing.
func (e *exporter) rate(own uint32) uint32 {
	switch {
	case e.sampling.override != 0:
		return e.sampling.override
	case own != 0:
		return own
	}
	return e.sampling.general
}

// times returns n multiplied by a sampling rate, at most the largest number.
func times(n uint64, rate uint32) uint64 {
	if rate <= 1 {
		return n
	}
	high, low := bits.Mul64(n, uint64(rate))
	if high != 0 {
		return 1<<64 - 1
	}
	return low
}
