// Package counters gathers what the parts of a running vft count.
package counters

import "sync"

// Func yields every counter of a part by its name.
type Func func(yield func(name string, n uint64))

// Registry knows the counters of all parts. Any goroutine may use it; so may any
// call the Funcs that it was given, at any time.
type Registry struct {
	mu    sync.Mutex // guards parts
	parts []Part
}

// Part is one part of vft: "capture", "link".
type Part struct {
	Name   string
	Counts Func
}

// Add registers a part. Several may have one name.
func (r *Registry) Add(name string, counts Func) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts = append(r.parts, Part{name, counts})
}

// Parts returns the parts in the order in which they came.
func (r *Registry) Parts() []Part {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.parts[:len(r.parts):len(r.parts)]
}

// Sum yields each name of several parts once, with the sum of its counters.
func Sum(parts ...Func) Func {
	return func(yield func(name string, n uint64)) {
		var names []string
		sums := map[string]uint64{}
		for _, counts := range parts {
			counts(func(name string, n uint64) {
				if _, known := sums[name]; !known {
					names = append(names, name)
				}
				sums[name] += n
			})
		}
		for _, name := range names {
			yield(name, sums[name])
		}
	}
}

// Tally is a copy of the counters of a part that only its own goroutine may ask,
// for others to read. Before the first Take it has none.
type Tally struct {
	mu     sync.Mutex // guards what follows
	names  []string
	values []uint64
}

// Take copies the counters. The goroutine that owns the part calls it.
func (t *Tally) Take(counts Func) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names, t.values = t.names[:0], t.values[:0]
	counts(func(name string, n uint64) {
		t.names, t.values = append(t.names, name), append(t.values, n)
	})
}

// Counts yields what was copied last. Any goroutine may ask.
func (t *Tally) Counts(yield func(name string, n uint64)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, name := range t.names {
		yield(name, t.values[i])
	}
}
