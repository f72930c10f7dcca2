package traps

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func none(uint16) bool { return false }

func TestPool(t *testing.T) {
	pool := Pool()
	if len(pool) != 40 || len(slices.Compact(slices.Sorted(slices.Values(pool)))) != 40 {
		t.Fatalf("the pool has %d ports", len(pool))
	}
	for _, noisy := range []uint16{53, 123, 161, 389, 631, 1900, 5353, 5357, 7070, 7680, 9100, 10001} {
		if slices.Contains(pool, noisy) {
			t.Errorf("port %d is touched by ordinary networks", noisy)
		}
	}
	pool[0] = 1
	if Pool()[0] == 1 {
		t.Error("the caller's slice is the pool itself")
	}
}

func TestChoose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := rapid.SliceOf(rapid.Uint16()).Draw(t, "pool")
		busy := rapid.SliceOf(rapid.SampledFrom(append(pool, 1))).Draw(t, "busy")
		n := rapid.IntRange(-1, 12).Draw(t, "n")
		skip := func(port uint16) bool { return slices.Contains(busy, port) }
		got := Choose(pool, n, skip, seeded(rapid.Uint64().Draw(t, "seed")))
		free := map[uint16]bool{}
		for _, port := range pool {
			if port != 0 && !skip(port) {
				free[port] = true
			}
		}
		if len(got) != max(0, min(n, len(free))) {
			t.Fatalf("%d of %d free ports chosen, wanted %d", len(got), len(free), n)
		}
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("%v is not ascending, each once", got)
		}
		for _, port := range got {
			if !free[port] {
				t.Fatalf("%d is busy or not in the pool", port)
			}
		}
	})
}

// TestChoiceIsRandomByWeight counts over fixed seeds.
func TestChoiceIsRandomByWeight(t *testing.T) {
	counts := map[uint16]int{}
	for seed := range uint64(4000) {
		for _, port := range Choose(Pool(), 5, none, seeded(seed)) {
			counts[port]++
		}
	}
	for _, port := range Pool() {
		want := 4000 * 5 / 38.2 // 38 ports of weight 1, two of 0.1
		if port == 139 || port == 445 {
			want /= 10
		}
		if got := float64(counts[port]); got < want*0.7 || got > want*1.4 {
			t.Errorf("port %d was chosen %v times, expected about %.0f", port, got, want)
		}
	}
}

func TestChoiceIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "traps.json")
	choice := func(seed uint64, change func(*Choice)) *Choice {
		c := &Choice{Path: path, Pool: Pool(), Count: 5, Skip: none, Random: seeded(seed)}
		if change != nil {
			change(c)
		}
		return c
	}
	load := func(c *Choice) []uint16 {
		t.Helper()
		ports, err := c.Load()
		if err != nil {
			t.Fatal(err)
		}
		return ports
	}
	first := load(choice(1, nil))
	if len(first) != 5 {
		t.Fatalf("chose %v", first)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again := load(choice(2, func(c *Choice) { c.Skip = func(uint16) bool { return true } }))
	if !slices.Equal(first, again) {
		t.Errorf("another start, while all ports are in use, chose %v, not %v", again, first)
	}
	more := load(choice(3, func(c *Choice) { c.Count = 8 }))
	if len(more) != 8 || !contains(more, first) {
		t.Errorf("eight ports are %v, without all of %v", more, first)
	}
	fewer := load(choice(4, func(c *Choice) { c.Count = 3 }))
	if len(fewer) != 3 || !contains(more, fewer) {
		t.Errorf("three ports are %v, not of %v", fewer, more)
	}
	pool := append([]uint16{4711}, fewer[:2]...)
	if got := load(choice(5, func(c *Choice) { c.Count, c.Pool = 3, pool })); !contains(got, pool) {
		t.Errorf("from the pool %v: %v", pool, got)
	}
}

func contains(all, some []uint16) bool {
	return !slices.ContainsFunc(some, func(port uint16) bool { return !slices.Contains(all, port) })
}

func TestChoiceReplacesWhatCannotBeOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "traps.json")
	c := &Choice{Path: path, Pool: Pool()[:8], Count: 5, Skip: none, Random: seeded(1)}
	first, err := c.Load()
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Replace(first[:2])
	if err != nil || len(second) != 5 || !contains(second, first[2:]) || slices.Contains(second, first[0]) || slices.Contains(second, first[1]) {
		t.Fatalf("without %v: %v, %v", first[:2], second, err)
	}
	third, _ := c.Replace(second[:1])
	fourth, _ := c.Replace(third[:1])
	if len(third) != 5 || len(fourth) != 4 {
		t.Errorf("with three and four of eight bad: %v, %v", third, fourth)
	}
	next := &Choice{Path: path, Pool: Pool()[:8], Count: 4, Skip: none, Random: seeded(9)}
	if kept, _ := next.Load(); !slices.Equal(kept, fourth) {
		t.Errorf("the next start loads %v, not %v", kept, fourth)
	}
	if err := next.Keep([]uint16{7, 9}); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); strings.TrimSpace(string(text)) != `{"ports":[7,9]}` {
		t.Errorf("the file holds %s", text)
	}
}

func TestChoiceWithABadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "traps.json")
	if err := os.WriteFile(path, []byte(`{"ports":[80,`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &Choice{Path: path, Pool: Pool(), Count: 5, Skip: none, Random: seeded(1)}
	ports, err := c.Load()
	if len(ports) != 5 || err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, %v", ports, err)
	}
	if again, err := c.Load(); err != nil || !slices.Equal(again, ports) {
		t.Errorf("after the repair: %v, %v", again, err)
	}
	c.Path = filepath.Join(path, "below-a-file")
	if ports, err := c.Load(); len(ports) != 5 || err == nil {
		t.Errorf("where nothing can be kept: %v, %v", ports, err)
	}
	c.Path = ""
	if ports, err := c.Load(); len(ports) != 5 || err != nil {
		t.Errorf("where nothing shall be kept: %v, %v", ports, err)
	}
}

func TestDealerStandsEveryPortTwice(t *testing.T) {
	d := NewDealer(Pool(), nil, seeded(1))
	for i := range 64 {
		d.Deal(string(rune('A'+i)), 5)
		clients := i + 1
		stand := d.stand()
		for _, port := range Pool() {
			if least := clients * 5 / 40; stand[port] < least || stand[port] > least+1 {
				t.Fatalf("%d clients: port %d stands on %d", clients, port, stand[port])
			}
		}
		if clients >= 16 && slices.ContainsFunc(Pool(), func(port uint16) bool { return stand[port] < 2 }) {
			t.Fatalf("%d clients: a port stands alone", clients)
		}
	}
}

// TestDealer does random things to a dealer and checks what must hold after each.
func TestDealer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := Pool()[:rapid.IntRange(3, 40).Draw(t, "pool")]
		count := rapid.IntRange(1, 6).Draw(t, "count")
		random := seeded(rapid.Uint64().Draw(t, "seed"))
		d := NewDealer(pool, nil, random)
		client := rapid.SampledFrom(strings.Split("abcdefghijklmnopqrstuvwxyz", ""))
		t.Repeat(map[string]func(*rapid.T){
			"deal": func(t *rapid.T) {
				name := client.Draw(t, "client")
				before, known := d.hands[name]
				got := d.Deal(name, count)
				if known && !slices.Equal(got, before.Ports) {
					t.Fatalf("client %s had %v and got %v", name, before.Ports, got)
				}
				if again := d.Deal(name, count); !slices.Equal(got, again) {
					t.Fatalf("asked twice, client %s got %v and %v", name, got, again)
				}
			},
			"refuse": func(t *rapid.T) {
				name := client.Draw(t, "client")
				bad := rapid.SliceOfN(rapid.SampledFrom(pool), 0, 3).Draw(t, "ports")
				before := d.Deal(name, count)
				got := d.Refuse(name, bad)
				for _, port := range before {
					if !slices.Contains(bad, port) && !slices.Contains(got, port) {
						t.Fatalf("client %s lost port %d, which it did not refuse", name, port)
					}
				}
			},
			"forget": func(t *rapid.T) { d.Forget(client.Draw(t, "client")) },
			"rebalance": func(t *rapid.T) {
				before := d.Hands()
				changed := d.Rebalance()
				for name, hand := range d.hands {
					if slices.Equal(hand.Ports, before[name].Ports) == slices.Contains(changed, name) {
						t.Fatalf("client %s: %v, then %v, and changed is %v", name, before[name].Ports, hand.Ports, changed)
					}
				}
				checkBalance(t, d)
			},
			"restart": func(t *rapid.T) {
				text, err := json.Marshal(d.Hands())
				if err != nil {
					t.Fatal(err)
				}
				var hands map[string]Hand
				if err := json.Unmarshal(text, &hands); err != nil {
					t.Fatal(err)
				}
				restarted := NewDealer(pool, hands, random)
				if !maps.EqualFunc(d.hands, restarted.hands, func(a, b Hand) bool {
					return slices.Equal(a.Ports, b.Ports) && slices.Equal(a.Refused, b.Refused)
				}) {
					t.Fatalf("%v became %v", d.hands, restarted.hands)
				}
				d = restarted
			},
			"": func(t *rapid.T) {
				for name, hand := range d.hands {
					checkHand(t, name, hand, pool, count)
				}
			},
		})
	})
}

func checkHand(t *rapid.T, name string, hand Hand, pool []uint16, count int) {
	want := min(count, len(pool)-len(hand.Refused))
	if len(hand.Ports) != want || !slices.IsSorted(hand.Ports) || len(slices.Compact(slices.Clone(hand.Ports))) != want {
		t.Fatalf("client %s has %v, wants %d ports", name, hand.Ports, want)
	}
	for _, port := range hand.Ports {
		if slices.Contains(hand.Refused, port) || !slices.Contains(pool, port) {
			t.Fatalf("client %s has port %d: refused %v, pool %v", name, port, hand.Refused, pool)
		}
	}
}

// checkBalance fails when a port stands on fewer than two clients although one
// exchange would help it.
func checkBalance(t *rapid.T, d *Dealer) {
	stand := d.stand()
	for _, port := range d.pool {
		if stand[port] >= 2 {
			continue
		}
		for name, hand := range d.hands {
			if slices.Contains(hand.Ports, port) || slices.Contains(hand.Refused, port) {
				continue
			}
			for _, held := range hand.Ports {
				if stand[held] > 2 {
					t.Fatalf("port %d stands on %d; client %s could give %d, which stands on %d", port, stand[port], name, held, stand[held])
				}
			}
		}
	}
}

func TestDealerAfterClientsLeft(t *testing.T) {
	d := NewDealer(Pool(), nil, seeded(1))
	for i := range 40 {
		d.Deal(string(rune('A'+i)), 5)
	}
	for i := range 24 {
		d.Forget(string(rune('A' + i)))
	}
	d.Rebalance()
	for port, n := range d.stand() {
		if n != 2 {
			t.Errorf("with 16 clients left, port %d stands on %d", port, n)
		}
	}
}

func TestDealerDealsTheSameFromTheSameSource(t *testing.T) {
	deal := func() map[string]Hand {
		d := NewDealer(Pool(), nil, seeded(7))
		for _, name := range []string{"a", "b", "c"} {
			d.Deal(name, 5)
		}
		d.Refuse("b", d.Deal("b", 5)[:2])
		return d.Hands()
	}
	a, b := deal(), deal()
	if !maps.EqualFunc(a, b, func(x, y Hand) bool { return slices.Equal(x.Ports, y.Ports) }) {
		t.Errorf("%v and %v", a, b)
	}
}

func TestDealerTakesNoStrangePortsFromItsState(t *testing.T) {
	d := NewDealer([]uint16{1, 2, 3, 4}, map[string]Hand{"a": {Count: 2, Ports: []uint16{9, 3, 3, 1, 2}, Refused: []uint16{9, 4, 4}}}, seeded(1))
	if got := d.Deal("a", 2); !slices.Equal(got, []uint16{1, 2}) {
		t.Errorf("dealt %v", got)
	}
	if got := d.Hands()["a"].Refused; !slices.Equal(got, []uint16{4}) {
		t.Errorf("refused %v", got)
	}
}
