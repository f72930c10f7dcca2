package packetlog

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is what a Log with room for everything must do: nothing but lists.
type model struct {
	flows    map[int]*modelFlow
	archived []int // numbers of packets
	now      int64
}

type modelFlow struct {
	packets []int
	alerted bool
	until   int64
}

func (m *model) packet(f, n int) {
	m.now = timeOf(n)
	if flow := m.flows[f]; flow != nil && flow.alerted && m.now > flow.until {
		m.end(f)
	}
	if m.flows[f] == nil {
		m.flows[f] = &modelFlow{}
	}
	m.flows[f].packets = append(m.flows[f].packets, n)
}

func (m *model) archive(f int) {
	if flow := m.flows[f]; flow != nil {
		flow.alerted, flow.until = true, m.now+int64(time.Second)
	}
}

func (m *model) end(f int) {
	if flow := m.flows[f]; flow != nil && flow.alerted {
		m.archived = append(m.archived, flow.packets...)
	}
	delete(m.flows, f)
}

// Exactly the packets of flows that alerted are in the archive in the end,
// whatever happens in between.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := open(t, Config{MaxFile: 16 << 10, Rotations: 1000, MaxOpen: 2, Linger: time.Second})
		m := model{flows: map[int]*modelFlow{}}
		next := 0
		flow := rapid.IntRange(0, 5)
		size := rapid.SampledFrom([]int{62, 300, 1514, 4052, 4053, 9000, 20_000})
		rt.Repeat(map[string]func(*rapid.T){
			"packet": func(rt *rapid.T) {
				f := flow.Draw(rt, "flow")
				next += rapid.SampledFrom([]int{1, 1, 1, 20, 250}).Draw(rt, "time")
				l.send(key(f), next, size.Draw(rt, "size"))
				m.packet(f, next)
			},
			"burst": func(rt *rapid.T) {
				f, n := flow.Draw(rt, "flow"), size.Draw(rt, "size")
				for range 30 {
					next++
					l.send(key(f).Reverse(), next, n)
					m.packet(f, next)
				}
			},
			"alert": func(rt *rapid.T) {
				f := flow.Draw(rt, "flow")
				l.Archive(key(f))
				m.archive(f)
			},
			"alert of a host": func(rt *rapid.T) {
				f := flow.Draw(rt, "flow")
				l.ArchiveHost(key(f).Src)
				m.archive(f)
			},
			"end": func(rt *rapid.T) {
				f := flow.Draw(rt, "flow")
				l.End(key(f))
				m.end(f)
			},
			"time": func(rt *rapid.T) {
				next += 200
				l.Advance(timeOf(next))
				m.now = timeOf(next)
			},
		})
		l.close()
		for f := range 6 {
			m.end(f)
		}
		got := numbers(t, filesIn(t, l.cfg.Archive))
		slices.Sort(got)
		slices.Sort(m.archived)
		if !slices.Equal(got, m.archived) {
			rt.Fatalf("archived %v\nnot      %v", got, m.archived)
		}
	})
}
