package watch

import (
	"testing"

	"pgregory.net/rapid"

	"vft/capture/packet"
)

// The index says the same as a map, whatever is put and removed.
func TestPairIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		slots, want := make([]pairKey, 300), map[pairKey]uint32{}
		x := newPairIndex([32]byte{1}, func(slot uint32) *pairKey { return &slots[slot] })
		for range rapid.IntRange(1, 600).Draw(rt, "steps") {
			slot := rapid.Uint32Range(0, uint32(len(slots)-1)).Draw(rt, "slot")
			old := slots[slot]
			if at, known := want[old]; known && at == slot {
				x.remove(&old)
				delete(want, old)
			}
			k := pairKey{packet.Addr4(slot), packet.Addr4(rapid.Uint32Range(0, 3).Draw(rt, "peer"))}
			if rapid.Bool().Draw(rt, "put") {
				slots[slot] = k
				x.put(&k, slot)
				want[k] = slot
			}
			if at, known := x.find(&k); known != (want[k] == slot && slots[slot] == k && has(want, k)) || known && at != slot {
				rt.Fatalf("%v: slot %d, %v; want %d", k, at, known, want[k])
			}
		}
		for k, slot := range want {
			if at, known := x.find(&k); !known || at != slot {
				rt.Fatalf("%v: slot %d, %v; want %d", k, at, known, slot)
			}
		}
		if x.used != len(want) {
			rt.Fatalf("%d used of %d", x.used, len(want))
		}
	})
}

func has(m map[pairKey]uint32, k pairKey) bool {
	_, known := m[k]
	return known
}
