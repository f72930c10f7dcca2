package sensor

import (
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// window says which flows of a key are looked at together. Time is the time at
// which flows ended, in milliseconds.
type window struct {
	kind  windowKind
	size  int64 // of period and hopping; the gap that ends a session
	step  int64 // of hopping
	flows int   // of count
}

type windowKind uint8

const (
	single  windowKind = iota // each flow alone
	period                    // the flows less than size older than the newest
	count                     // the last flows, as they came
	hopping                   // the flows of a window of size, which moves on by step
	session                   // the flows with no gap as long as size between them
)

// Limits of windows: times of flows in a window are kept in 32 bits.
const (
	maxWindow     = 7 * 24 * time.Hour
	maxCounted    = 4096
	countForgets  = int64(time.Hour / time.Millisecond) // quiet that ends a window of the last flows
	windowExample = "single, {period: 60s}, {count: 20}, {hopping: 10m, step: 1m} or {session: 30s}"
)

// window reads the word single, or a mapping as {period: 60s}.
func (r *reader) window(node ast.Node, where string) (w window, err error) {
	if text, _, err := r.scalar(node, where); err == nil {
		if text == "single" {
			return window{kind: single}, nil
		}
		return w, failure(r.at(node, where), "%q is no window; write %s", text, windowExample)
	}
	all, err := r.entries(node, where)
	if err != nil {
		return w, err
	}
	stepAt := ""
	for _, e := range all {
		if e.key == "step" {
			stepAt = e.where
			w.step, err = r.milliseconds(e)
		} else if w.kind != single {
			err = failure(e.where, "a window is of one kind: %s", windowExample)
		} else {
			err = r.kind(e, &w)
		}
		if err != nil {
			return w, err
		}
	}
	return w, w.check(where, stepAt)
}

func (r *reader) kind(e entry, w *window) (err error) {
	switch e.key {
	case "period":
		w.kind = period
	case "hopping":
		w.kind = hopping
	case "session":
		w.kind = session
	case "count":
		w.kind = count
		text, place, err := r.scalar(e.value, e.where)
		if err != nil {
			return err
		}
		if w.flows, err = strconv.Atoi(text); err != nil || w.flows < 1 || w.flows > maxCounted {
			return failure(place, "%q is not a number of flows from 1 to %d", text, maxCounted)
		}
		return nil
	default:
		return failure(e.where, "%s is no window; write %s", e.key, windowExample)
	}
	w.size, err = r.milliseconds(e)
	return err
}

func (r *reader) milliseconds(e entry) (int64, error) {
	text, place, err := r.scalar(e.value, e.where)
	if err != nil {
		return 0, err
	}
	d, err := duration(text, place, time.Second, maxWindow)
	return d.Milliseconds(), err
}

func (w *window) check(where, stepAt string) error {
	switch {
	case w.kind == single:
		return failure(where, "says no window; write %s", windowExample)
	case w.kind == hopping && (w.step == 0 || w.size%w.step != 0):
		return failure(where, "a hopping window needs a step that divides it, as {hopping: 10m, step: 1m}")
	case w.kind != hopping && stepAt != "":
		return failure(stepAt, "step belongs to a hopping window")
	}
	return nil
}

// begin returns the time before which a flow is not in the window whose newest
// flow is at newest. A session begins where its first flow is.
func (w *window) begin(newest int64) int64 {
	switch w.kind {
	case period:
		return newest - w.size + 1
	case hopping:
		return floor(newest, w.step) + w.step - w.size
	}
	return -1 << 62
}

// floor rounds t down to a multiple of step.
func floor(t, step int64) int64 {
	if r := t % step; r < 0 {
		return t - r - step
	} else {
		return t - r
	}
}

// forgets returns after how long without a flow a window holds nothing more.
func (w *window) forgets() int64 {
	if w.kind == count {
		return countForgets
	}
	return w.size
}

// seconds is the length of the window as records tell it; 0 when it has none.
func (w *window) seconds() float64 { return float64(w.size) / 1000 }
