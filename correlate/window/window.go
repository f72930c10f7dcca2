// Package window holds the small counters that the fleet rules are made of:
// hits and distinct members in sliding windows, a likelihood ratio, a rate, and
// the bounded table that keeps one of each for every key. All of them are plain
// values without pointers, so that a million of them cost the garbage collector
// nothing. Time is event time and may arrive out of order.
package window

import "time"

// Tick is a time in units of 10 ms. Only differences mean something: it wraps
// after 497 days, and two ticks compare rightly when they are less than 248
// days apart.
type Tick uint32

const perTick = 10 * time.Millisecond

// At returns the tick of t.
func At(t time.Time) Tick { return Tick(t.UnixNano() / int64(perTick)) }

// Ticks returns d in ticks, at most 248 days.
func Ticks(d time.Duration) int32 { return int32(min(d/perTick, 1<<31-1)) }

// Since returns t - u in ticks; negative when u is later.
func (t Tick) Since(u Tick) int32 { return int32(t - u) }
