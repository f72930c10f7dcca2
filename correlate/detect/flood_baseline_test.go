package detect

import (
	"testing"

	"vft/capture/packet"
	"vft/event"
)

// halfOpens sends so many SYN of many sources in the second after now, none of them
// answered.
func halfOpens(w *wire, to string, n int) {
	for i := range n {
		w.now++
		w.packetOf(uint32(i)*2654435761, to)
	}
	w.now = (w.now/second + 1) * second
}

// packetOf is a SYN without the cost of decoding it.
func (w *wire) packetOf(from uint32, to string) {
	p := &packet.Parsed{Network: packet.IPv4, HasAddrs: true, Transport: packet.TCP, HasPorts: true, HasFlags: true, Flags: packet.SYN, Proto: protocolTCP,
		Src: packet.Addr4(from | 1<<31), Dst: address(to), SrcPort: uint16(from), DstPort: 443, Seq: from}
	w.floods.opened(p, w.now)
}

func TestFloodBaselines(t *testing.T) {
	const to = "10.0.0.5"
	steady := func(n, long int) func(*wire) {
		return func(w *wire) {
			for i := range long {
				halfOpens(w, to, n+i*7%31)
				w.Advance(w.now)
			}
		}
	}
	bursts := func(long int) func(*wire) {
		return func(w *wire) {
			for i := range long {
				n := 20 + i*7%31
				if i%30 == 29 {
					n = 230 + i%17
				}
				halfOpens(w, to, n)
				w.Advance(w.now)
			}
		}
	}
	for _, c := range []struct {
		why   string
		learn func(*wire)
		then  func(*wire)
		want  int // floods told after learning
	}{
		{"a steady hundred, then five times that: an average of a hundred would allow a thousand", steady(100, 200), steady(500, 10), 1},
		{"a steady hundred, then half as much again", steady(100, 200), steady(152, 10), 0},
		{"bursts that come again and again", bursts(400), bursts(120), 0},
		{"bursts, then a flood", bursts(400), steady(5000, 5), 1},
		{"before 128 seconds the average rules", steady(100, 100), steady(500, 10), 0},
		{"a flood does not teach its target: it goes on for five minutes", steady(100, 200), func(w *wire) {
			steady(700, 300)(w)
			steady(100, 60)(w)
			steady(700, 10)(w)
		}, 2},
		{"ten minutes of more are the new normal", steady(100, 200), func(w *wire) {
			steady(500, 700)(w)
			steady(500, 200)(w)
		}, 1},
		{"ten minutes of very much more are not", steady(100, 200), func(w *wire) {
			steady(5000, 640)(w)
			steady(100, 60)(w)
			steady(5000, 10)(w)
		}, 2},
	} {
		w := newWire(Config{})
		c.learn(w)
		w.records = nil
		c.then(w)
		fired := 0
		for _, e := range w.records {
			if e.Threat.State == event.Firing && e.Threat.Type == "syn_flood" {
				fired++
				t.Logf("%s: %s", c.why, line(&e))
			}
		}
		if fired != c.want {
			t.Errorf("%s: %d fired, want %d", c.why, fired, c.want)
		}
	}
}

// Many destinations take no more than the places there are, and one that is idle makes
// room.
func TestFloodBaselinesAreBounded(t *testing.T) {
	w := newWire(Config{})
	b := w.floods.usual
	fill := func(first uint32, sec int64) {
		for i := range uint32(200) {
			b.note(baselineKey{target: uint64(1 + first + i), kind: floodSYN})
		}
		b.advance(w.floods, sec*second)
	}
	for i := range uint32(4) {
		fill(i*200, 1000)
	}
	if len(b.all) != maxBaselines || len(b.index) != maxBaselines || b.refused != 4*200-maxBaselines {
		t.Errorf("%d places, %d refused", len(b.all), b.refused)
	}
	fill(5000, 1000+baselineQuiet)
	if len(b.all) != maxBaselines || len(b.index) != maxBaselines || b.index[baselineKey{5001, floodSYN}] == nil || b.refused != 4*200-maxBaselines {
		t.Errorf("%d places, %d refused: nothing made room", len(b.all), b.refused)
	}
}

func TestFloodsDoNotAllocate(t *testing.T) {
	w := newWire(Config{})
	for i := range 200 {
		halfOpens(w, "10.0.0.5", 100+i%7)
		w.Advance(w.now)
	}
	if n := testing.AllocsPerRun(100, func() {
		halfOpens(w, "10.0.0.5", 104)
		w.Advance(w.now)
	}); n > 105 { // one Parsed for each
		t.Errorf("%v allocations in a second of 104 packets", n)
	}
	if err := baselineConfig().Validate(); err != nil {
		t.Error(err)
	}
}
