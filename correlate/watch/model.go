package watch

import (
	"math"
	"math/bits"

	"vft/correlate/spot"
)

// The shape of the tails is kept within these: the bare algorithm alarms ten times as
// often as it promises when a short tail is taken for a bounded one. Of logarithms
// already an exponential tail is a power law of the values.
const gammaMin, gammaMax, gammaMaxLog = 0, 0.8, 0.2

// maxDistance is the largest distance of a threshold of logarithms: a thousand times the
// usual is abnormal, however wild the values were.
const maxDistance = 6.9

// masking is how many times the expected number of excesses among the newest 64
// values a model learns; when one of them was abnormal, it is as many as expected. The
// rest is judged, not learned: a flood must not teach that floods are normal. While
// excesses are withheld usual values are not counted either: the share of excesses
// would fall, and with it the threshold, the more the burstier the traffic is.
const masking = 5

// model is what one statistic has taught: a reference, the mean of the newest
// values, and the tails of the distance to it.
type model struct {
	cfg     spot.Config // as the user gave it
	logs    bool
	ref     ring       // of Depth values; abnormal ones come in cut down to their threshold
	spot    *spot.Spot // of value - reference
	slow    [2]slow    // thresholds of old, by index
	level   slow       // mean of the values over about NInit of them
	learned uint64     // a bit for each of the newest 64 values: an excess that was learned
	alarmed uint64     // a bit for each of the newest 64 values: it was abnormal
	robust  robust
}

// slow follows the threshold of a side over about NInit values: what it was before
// a flood began to move it.
type slow struct {
	Known bool    `json:"known"`
	Z     float64 `json:"z"`
}

// newModel returns a model of values, or of their logarithms.
func newModel(cfg spot.Config, logs bool) (*model, error) {
	s, err := spot.New(inner(cfg, logs))
	if err != nil {
		return nil, err
	}
	return &model{cfg: cfg, logs: logs, ref: newRing(cfg.Depth), spot: s, robust: newRobust(logs)}, nil
}

// inner is the configuration of the tails. The values that fill the reference
// count among the first.
func inner(cfg spot.Config, logs bool) spot.Config {
	cfg.NInit -= cfg.Depth
	cfg.Depth = 0
	cfg.ClampGamma, cfg.GammaMin, cfg.GammaMax = true, gammaMin, gammaMax
	if logs {
		cfg.GammaMax = gammaMaxLog
	}
	return cfg
}

// exemption is why a value beyond the threshold is not abnormal.
type exemption uint8

const (
	notExempt     exemption = iota
	insignificant           // less than minEffect away, or what chance makes of so few things
	recurrent               // it comes again and again
	seasonal                // it was so at this hour of the day or of the week
	reverted                // it is usual again after a time in which the reference moved away
)

// verdict is the judgement on one value.
type verdict struct {
	flag        spot.Flag
	exempt      exemption
	teaches     bool      // although it is beyond the threshold
	side        spot.Side // of an anomaly
	by          string    // detector that found it
	threshold   float64
	probability float64
	expected    float64
}

func (v *verdict) abnormal() bool { return v.flag == spot.Anomaly }

// judge says what x is and learns nothing.
func (m *model) judge(x float64) (v verdict) {
	v.expected = m.ref.mean
	if m.ref.full() {
		m.judgeTail(x, &v)
	}
	if v.abnormal() || m.calibrated() {
		return v
	}
	up := m.cfg.Up && !m.spot.Calibrated(spot.Up)
	down := m.cfg.Down && !m.spot.Calibrated(spot.Down)
	if side, threshold := m.robust.judge(x, up, down); side != spot.None {
		// Of n values none was so large; that is all that is known.
		n := float64(len(m.robust.logs.values))
		return verdict{flag: spot.Anomaly, side: side, by: "robust", threshold: threshold, probability: 1 / (n + 1), expected: m.robust.mean()}
	}
	return v
}

// judgeTail judges by the tails: against their threshold, and while the masking
// guard holds also against the threshold of old.
func (m *model) judgeTail(x float64, v *verdict) {
	y := x - m.ref.mean
	r, err := m.spot.Judge(y)
	if err != nil {
		return
	}
	v.flag, v.side = r.Flag, r.Side
	z := 0.0
	switch {
	case r.Flag == spot.Anomaly:
		z, _ = m.spot.Threshold(r.Side)
	case m.logs && math.Abs(y) > maxDistance && m.wants(y) && m.calibrated():
		v.flag, v.side = spot.Anomaly, spot.Up
		if z = maxDistance; y < 0 {
			v.side, z = spot.Down, -maxDistance
		}
		r.Side = v.side
	case r.Flag == spot.Excess && m.masked() && m.slow[index(r.Side)].beyond(r.Side, y):
		z = m.slow[index(r.Side)].Z
		v.flag = spot.Anomaly
	default:
		return
	}
	v.by, v.threshold = "spot", z+m.ref.mean
	v.probability, _ = m.spot.Probability(r.Side, y)
}

// restores reports whether x, which is beyond a threshold, is within it as seen from
// the mean of many more values than the reference has.
func (m *model) restores(x float64, v *verdict) bool {
	z := m.level.Z + v.threshold - v.expected
	return v.by == "spot" && m.level.Known && (v.side == spot.Up && x <= z || v.side == spot.Down && x >= z)
}

// wants reports whether the side on which y lies is watched.
func (m *model) wants(y float64) bool { return y > 0 && m.cfg.Up || y < 0 && m.cfg.Down }

// learn takes x in as judged, and reports whether it was an excess that the
// masking guard withheld.
func (m *model) learn(x float64, v verdict) (withheld bool) {
	m.learned <<= 1
	m.alarmed <<= 1
	if v.abnormal() || v.exempt != notExempt {
		m.alarmed |= 1
	}
	switch {
	case v.abnormal():
		x = v.cut(x)
	case v.teaches && m.ref.full():
		x = v.cut(x)
		m.teach(x-m.ref.mean, v.side)
	case v.exempt == reverted:
	case v.exempt != notExempt:
		x = v.cut(x)
	case !m.ref.full():
	case v.flag == spot.Excess && m.masked():
		withheld = true
	case v.flag == spot.Normal && m.spot.Fitted() && m.masked():
	default:
		if r, _ := m.spot.Step(m.old(x-m.ref.mean, v.side)); r.Flag == spot.Excess {
			m.learned |= 1
		}
	}
	m.ref.push(m.hold(x))
	m.level.follow(x, m.cfg.NInit)
	if m.calibrated() {
		m.robust.clear()
		m.follow(spot.Up)
		m.follow(spot.Down)
	} else if !v.abnormal() {
		m.robust.push(x)
	}
	return withheld
}

// teach gives the tails a value that is beyond the threshold but comes again and
// again: as the largest that they take in, so that the threshold rises step by step.
func (m *model) teach(y float64, side spot.Side) {
	z, ok := m.spot.Threshold(side)
	if !ok {
		return
	}
	if side == spot.Down {
		y = max(y, math.Nextafter(z, math.Inf(1)))
	} else {
		y = min(y, math.Nextafter(z, math.Inf(-1)))
	}
	m.spot.Step(y)
}

// old returns an excess as the tails take it in: up to the threshold of old. What was
// abnormal a while ago must not raise the threshold step by step.
func (m *model) old(y float64, side spot.Side) float64 {
	if side == spot.None {
		return y
	}
	if s := &m.slow[index(side)]; s.beyond(side, y) {
		return s.Z
	}
	return y
}

// cut returns an abnormal value as the reference takes it in: up to the threshold.
// So it goes on learning through an alarm, and one spike does not move it far.
func (v *verdict) cut(x float64) float64 {
	if v.side == spot.Down {
		return max(x, v.threshold)
	}
	return min(x, v.threshold)
}

// hold keeps what the reference takes in as near on the side that nobody watches as the
// threshold is on the other: after a flood, which moves many statistics down, the usual
// must not look like much.
func (m *model) hold(x float64) float64 {
	if !m.ref.full() || m.cfg.Up && m.cfg.Down || math.Abs(x-m.ref.mean) < math.Abs(m.slow[index(m.side())].Z)/2 {
		return x // it cannot be so far
	}
	if z, ok := m.spot.Threshold(spot.Up); ok && !m.cfg.Down {
		return max(x, m.ref.mean-z)
	}
	if z, ok := m.spot.Threshold(spot.Down); ok && !m.cfg.Up {
		return min(x, m.ref.mean-z)
	}
	return x
}

// side is the side that is watched, the upper one of both.
func (m *model) side() spot.Side {
	if m.cfg.Up {
		return spot.Up
	}
	return spot.Down
}

// masked reports whether there were so many excesses that no more are learned.
func (m *model) masked() bool {
	most := 64 * (1 - m.cfg.Level)
	if m.alarmed == 0 {
		most *= masking
	}
	return float64(bits.OnesCount64(m.learned)) >= math.Ceil(most)
}

// calibrated reports whether every watched side can raise an anomaly by its tail.
func (m *model) calibrated() bool {
	return (!m.cfg.Up || m.spot.Calibrated(spot.Up)) && (!m.cfg.Down || m.spot.Calibrated(spot.Down))
}

// threshold returns the value beyond which the next one is an anomaly.
func (m *model) threshold(side spot.Side) (float64, bool) {
	z, ok := m.spot.Threshold(side)
	if m.logs {
		z = min(max(z, -maxDistance), maxDistance)
	}
	return z + m.ref.mean, ok && m.ref.full()
}

func (m *model) follow(side spot.Side) {
	if z, ok := m.spot.Threshold(side); ok {
		m.slow[index(side)].follow(z, m.cfg.NInit)
	}
}

func (s *slow) follow(z float64, over int) {
	if !s.Known {
		s.Known, s.Z = true, z
	}
	s.Z += z/float64(over) - s.Z/float64(over) // the difference of two finite values may not be finite
}

func (s *slow) beyond(side spot.Side, y float64) bool {
	return s.Known && (side == spot.Up && y > s.Z || side == spot.Down && y < s.Z)
}

func index(side spot.Side) int {
	if side == spot.Down {
		return 1
	}
	return 0
}
