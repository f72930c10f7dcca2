package event

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"unicode/utf8"
)

// The limits of the details that maps, lists or free values are in. What is
// over them is cut when it is written and when it is read: of a map the last
// keys in their order, of a list the last items, of a series the oldest.
const (
	MaxItems  = 256       // numbers of a series, items of a list in Threat.Details
	MaxKeys   = 64        // keys of a map; Summary.Counters may have four times as many
	MaxNested = 4         // levels of lists and maps within Threat.Details
	MaxDetail = 128 << 10 // bytes of such a detail as JSON; a longer one is refused
)

// detailBudget bounds the maps of one detail so that MaxDetail holds: JSON
// escapes a byte with six at most, and itemCost is over a sixth of what JSON
// needs for a number with its comma.
const (
	detailBudget = 16 << 10
	itemCost     = 8
)

// boundable is a detail that can cut itself down to the limits. bound changes
// the struct alone, never what its pointers, maps and slices refer to.
type boundable[T any] interface {
	*T
	bound()
}

// appendBounded appends a copy of v that is within the limits.
func appendBounded[T any, P boundable[T]](dst []byte, key string, v *T) []byte {
	good := *v
	P(&good).bound()
	return appendAny(append(dst, key...), &good)
}

// readBounded reads the next value, of at most MaxDetail bytes, and cuts it
// down to the limits.
func readBounded[T any, P boundable[T]](r *Reader) *T {
	v := slowlyWithin[T](r, MaxDetail)
	if v != nil {
		P(v).bound()
	}
	return v
}

func (s *Stat) bound() {
	s.Name = boundName(s.Name)
	s.Start, s.End = writableTime(s.Start), writableTime(s.End)
	s.Value, s.Up, s.Down = boundNumber(s.Value), boundNumber(s.Up), boundNumber(s.Down)
}

func (a *Anomaly) bound() {
	a.Detector, a.Statistic, a.State = boundName(a.Detector), boundName(a.Statistic), boundName(a.State)
	a.Side, a.Episode, a.Reason = boundName(a.Side), boundName(a.Episode), boundText(a.Reason, MaxText)
	a.Incident, a.Severity = boundName(a.Incident), max(0, min(a.Severity, 100))
	a.Value, a.Threshold, a.Probability = finite(a.Value), finite(a.Threshold), finite(a.Probability)
	a.Start, a.End = writableTime(a.Start), writableTime(a.End)
	b := budget(detailBudget)
	a.Methods = boundMap(&b, a.Methods, MaxKeys, func(p float64) (float64, bool) { return finite(p), true })
	a.Series = slices.Clone(a.Series[max(0, len(a.Series)-MaxItems):])
	for i, x := range a.Series {
		a.Series[i] = finite(x)
	}
}

func (t *Threat) bound() {
	t.Type, t.Observer, t.Offender = boundName(t.Type), boundName(t.Observer), boundName(t.Offender)
	t.Sensor, t.State, t.Episode = boundName(t.Sensor), boundName(t.State), boundName(t.Episode)
	t.Start, t.End, t.Incident = writableTime(t.Start), writableTime(t.End), boundName(t.Incident)
	b := budget(detailBudget)
	t.Details = boundMap(&b, t.Details, MaxKeys, func(v any) (any, bool) { return b.value(v, MaxNested) })
}

func (f *Flow) bound() {
	f.Start, f.End = writableTime(f.Start), writableTime(f.End)
	f.Ended, f.Exporter, f.Version = boundName(f.Ended), boundName(f.Exporter), boundName(f.Version)
}

func (s *Summary) bound() {
	s.First, s.Last = writableTime(s.First), writableTime(s.Last)
	s.Seconds = finite(s.Seconds)
	b := budget(detailBudget)
	s.Counters = boundMap(&b, s.Counters, 4*MaxKeys, func(n uint64) (uint64, bool) { return n, true })
}

func boundName[S ~string](s S) S { return S(boundText(string(s), MaxName)) }

// boundText returns at most limit bytes of s in valid UTF-8, whole characters
// only.
func boundText(s string, limit int) string {
	s = s[:min(len(s), limit+utf8.UTFMax)] // no character gets shorter, so the rest does not count
	return cut(string([]rune(s)), limit)
}

// boundNumber returns x, or the nearest number that JSON can hold, or nil for
// what is not a number.
func boundNumber(x *float64) *float64 {
	if x == nil || math.IsNaN(*x) {
		return nil
	}
	y := finite(*x)
	return &y
}

// budget is how much the maps of one detail may still hold: the bytes of their
// texts, and itemCost for each key and item.
type budget int

// spend reports whether n more fit, and takes them if so.
func (b *budget) spend(n int) bool {
	if n > int(*b) {
		return false
	}
	*b -= budget(n)
	return true
}

// boundMap returns what fits of m, at most limit keys, in the order of the
// keys. value bounds one value and reports whether it fits.
func boundMap[V any](b *budget, m map[string]V, limit int, value func(V) (V, bool)) map[string]V {
	if m == nil {
		return nil
	}
	good := make(map[string]V, min(len(m), limit))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		name := boundName(key)
		if len(good) == limit || !b.spend(itemCost+len(name)) {
			break
		}
		if v, fits := value(m[key]); fits {
			good[name] = v
		}
	}
	return good
}

// value returns v as encoding/json would read it back, with its numbers finite
// and its texts, lists and maps within the limits, and reports whether it fits.
// What JSON cannot hold, and what is more than depth levels deep, becomes nil.
func (b *budget) value(v any, depth int) (any, bool) {
	switch v := v.(type) {
	case nil, bool, int, int64, uint64:
		return v, b.spend(itemCost)
	case float64:
		return finite(v), b.spend(itemCost)
	case string:
		s := boundText(v, MaxText)
		return s, b.spend(itemCost + len(s))
	case []any:
		return b.list(v, depth)
	case map[string]any:
		if depth == 0 || v == nil {
			return nil, b.spend(itemCost)
		}
		if !b.spend(itemCost) {
			return nil, false
		}
		return boundMap(b, v, MaxKeys, func(v any) (any, bool) { return b.value(v, depth-1) }), true
	}
	return b.value(ReadBack(v), depth)
}

func (b *budget) list(list []any, depth int) (any, bool) {
	if depth == 0 || list == nil {
		return nil, b.spend(itemCost)
	}
	if !b.spend(itemCost) {
		return nil, false
	}
	list = list[:min(len(list), MaxItems)]
	good := make([]any, 0, len(list))
	for _, v := range list {
		item, fits := b.value(v, depth-1)
		if !fits {
			break
		}
		good = append(good, item)
	}
	return good, true
}

// ReadBack returns v as encoding/json reads back what it wrote: as a bool,
// float64, string, []any or map[string]any; nil for what it cannot write. In
// a []float64 it takes numbers that JSON cannot hold, too.
func ReadBack(v any) (p any) {
	switch v := v.(type) {
	case float32:
		return float64(v)
	case []float64:
		list := make([]any, len(v))
		for i, x := range v {
			list[i] = x
		}
		return list
	}
	text, err := json.Marshal(v)
	if err != nil || json.Unmarshal(text, &p) != nil {
		return nil
	}
	return p
}
