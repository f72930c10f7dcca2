// Package pipeline runs ordered work on several goroutines. The work on a batch
// is cut into stages; each stage takes the batches one after the other, in the
// order in which they were fed, so it may keep a state of its own without a
// lock, and what it does is the same on one goroutine or on many. Stages that do
// not wait for each other work at the same time, on the same batch or on others.
package pipeline

import (
	"cmp"
	"sync"
)

// Stage is one part of the work on every batch.
type Stage[B any] struct {
	// Run does it. It is called for each batch in order, by one goroutine at a
	// time, though not always the same one. It must not use the Line.
	Run func(*B)
	// After lists the stages that must be done with a batch first, by their
	// index; all stand before this one.
	After []int
}

// Line is a row of stages with a fixed number of batches that go round. One
// goroutine feeds it and, while no batch is free, works in the stages as all
// others do: with w workers, w goroutines are busy.
type Line[B any] struct {
	workers int
	ring    []*B // batch n lies at n modulo the length

	mu     sync.Mutex // guards what follows
	wake   sync.Cond
	asleep int // goroutines that wait for wake
	stages []stage[B]
	fed    int // batches handed over
	closed bool
}

type stage[B any] struct {
	Stage[B]
	done int // batches
	busy bool
}

// New returns a Line over the given batches, at least one. The goroutine that
// feeds keeps to the first stages and the others to the last ones: what a
// processor has in its cache stays useful there. So the stages that read most of
// what is fed should stand first. The last stage must come after all others.
func New[B any](workers int, batches []*B, stages ...Stage[B]) *Line[B] {
	l := &Line[B]{workers: max(workers, 1), ring: batches}
	l.wake.L = &l.mu
	for _, s := range stages {
		l.stages = append(l.stages, stage[B]{Stage: s})
	}
	return l
}

// Run calls feed, which takes batches with Next and hands them over with Put,
// and returns when it has returned and all stages are done with all batches.
// What feed has not handed over by then is dropped.
func (l *Line[B]) Run(feed func()) {
	var helpers sync.WaitGroup
	for range l.workers - 1 {
		helpers.Go(func() { l.work(l.last, func() bool { return l.closed && l.finished() == l.fed }) })
	}
	feed()
	l.mu.Lock()
	l.closed = true
	l.wake.Broadcast()
	l.mu.Unlock()
	l.work(l.first, func() bool { return l.finished() == l.fed })
	helpers.Wait()
}

// Next returns the batch to fill, the same one until it is handed over. Only the
// goroutine that feeds may call it.
func (l *Line[B]) Next() *B {
	l.work(l.first, func() bool { return l.fed-l.finished() < len(l.ring) })
	return l.ring[l.fed%len(l.ring)]
}

// Put hands over the batch that Next returned. Only the goroutine that feeds may
// call it.
func (l *Line[B]) Put() {
	l.mu.Lock()
	l.fed++
	l.rouse()
	l.mu.Unlock()
}

// work works in the stages that choose returns until enough holds, and sleeps
// when there is nothing to do.
func (l *Line[B]) work(choose func() *stage[B], enough func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !enough() {
		s := choose()
		if s == nil {
			l.asleep++
			l.wake.Wait()
			l.asleep--
			continue
		}
		s.busy = true
		b := l.ring[s.done%len(l.ring)]
		l.rouse()
		l.mu.Unlock()
		s.Run(b)
		l.mu.Lock()
		s.busy = false
		s.done++
		if l.asleep > 0 && s == &l.stages[len(l.stages)-1] {
			l.wake.Broadcast() // a batch is free, or all are done
		}
	}
	l.rouse()
}

// rouse wakes a sleeper when there is something to do for it; mu is held.
func (l *Line[B]) rouse() {
	if l.asleep > 0 && l.first() != nil {
		l.wake.Signal()
	}
}

// first returns the stage that the feeding goroutine goes on with, nil when
// there is none; mu is held.
func (l *Line[B]) first() *stage[B] {
	first, _, late := l.ready()
	return cmp.Or(late, first)
}

// last is first for the other goroutines.
func (l *Line[B]) last() *stage[B] {
	_, last, late := l.ready()
	return cmp.Or(late, last)
}

// ready returns the first and the last of the stages that can go on, and the one
// that is furthest behind if that is half of the ring: it soon holds up all
// others. mu is held.
func (l *Line[B]) ready() (first, last, late *stage[B]) {
	for i := range l.stages {
		s := &l.stages[i]
		if s.busy || s.done >= l.limit(s) {
			continue
		}
		if first == nil {
			first = s
		}
		last = s
		if l.fed-s.done > len(l.ring)/2 && (late == nil || s.done < late.done) {
			late = s
		}
	}
	return first, last, late
}

// limit returns how many batches a stage may have done; mu is held.
func (l *Line[B]) limit(s *stage[B]) int {
	n := l.fed
	for _, i := range s.After {
		n = min(n, l.stages[i].done)
	}
	return n
}

// finished returns how many batches all stages are done with; mu is held.
func (l *Line[B]) finished() int { return l.stages[len(l.stages)-1].done }
