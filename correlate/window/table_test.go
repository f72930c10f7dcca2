package window

import (
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func key(n uint64) (k Key) {
	binary.BigEndian.PutUint64(k[8:], n)
	return k
}

// model is a table as a map with two lists, newest last.
type model struct {
	values  map[Key]int
	order   [2][]Key
	limit   int
	evicted []Key
}

func (m *model) class(k Key) int {
	if slices.Contains(m.order[1], k) {
		return 1
	}
	return 0
}

func (m *model) remove(k Key) {
	delete(m.values, k)
	for i := range m.order {
		m.order[i] = slices.DeleteFunc(m.order[i], func(o Key) bool { return o == k })
	}
}

func (m *model) get(k Key, strong bool) (fresh bool) {
	c := m.class(k)
	if strong {
		c = 1
	}
	value, known := m.values[k]
	if !known && len(m.values) == m.limit {
		oldest := slices.Concat(m.order[0], m.order[1])[0]
		m.evicted = append(m.evicted, oldest)
		m.remove(oldest)
	}
	m.remove(k)
	m.values[k] = value
	m.order[c] = append(m.order[c], k)
	return !known
}

// Whatever is done to it, a table is a map that forgets the weak before the
// strong, the least recently used first.
func TestTableAgainstItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{values: map[Key]int{}, limit: rapid.IntRange(1, 200).Draw(t, "limit")}
		var evicted []Key
		table := NewTable(m.limit, func(k Key, v *int) {
			if *v != m.values[k] {
				t.Errorf("the value of an evicted entry is %d", *v)
			}
			evicted = append(evicted, k)
		})
		draw := func(t *rapid.T) Key { return key(rapid.Uint64Range(0, 300).Draw(t, "key")) }
		get := func(t *rapid.T) {
			for range rapid.IntRange(1, 40).Draw(t, "times") {
				k, strong := draw(t), rapid.IntRange(0, 3).Draw(t, "strong") == 0
				v, fresh := table.Get(k, strong)
				if want := m.get(k, strong); fresh != want || *v != m.values[k] {
					t.Fatalf("got %d, new: %v; want %d, new: %v", *v, fresh, m.values[k], want)
				}
				*v++
				m.values[k] = *v
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"get":  get,
			"more": get,
			"delete": func(t *rapid.T) {
				k := draw(t)
				table.Delete(k)
				m.remove(k)
			},
			"": func(t *rapid.T) { same(t, table, m, evicted) },
		})
	})
}

func same(t *rapid.T, table *Table[int], m *model, evicted []Key) {
	if table.Len() != len(m.values) || !slices.Equal(evicted, m.evicted) {
		t.Fatalf("%d entries, not %d; evicted %v, not %v", table.Len(), len(m.values), evicted, m.evicted)
	}
	for n := range uint64(301) {
		v, want := table.Find(key(n)), m.values[key(n)]
		if (v != nil) != (want != 0) || v != nil && *v != want {
			t.Fatalf("%d has another value", n)
		}
	}
	for i, strong := range []bool{false, true} {
		k, _, ok := table.Oldest(strong)
		if ok != (len(m.order[i]) > 0) || ok && k != m.order[i][0] {
			t.Fatalf("the oldest is %v %v", k, ok)
		}
	}
	var all []Key
	table.Each(func(k Key, v *int, strong bool) {
		if all = append(all, k); *v != m.values[k] || strong != (m.class(k) == 1) {
			t.Fatalf("%v was visited with %d, strong: %v", k, *v, strong)
		}
	})
	if !slices.Equal(all, slices.Concat(m.order[0], m.order[1])) {
		t.Fatalf("visited %v", all)
	}
	if int(table.used) > m.limit {
		t.Fatalf("%d slots were handed out for %d entries", table.used, m.limit)
	}
}

// Entries that come and go take no more room than those that are there at once.
func TestTableReusesItsSlots(t *testing.T) {
	table := NewTable[[4]uint64](1<<20, nil)
	for i := range uint64(1 << 17) {
		table.Get(key(i), i%2 == 0)
		if i >= 100 {
			table.Delete(key(i - 100))
		}
	}
	if table.Len() != 100 || table.used > 101 {
		t.Errorf("%d entries take %d slots", table.Len(), table.used)
	}
}

func TestFullTableDoesNotAllocate(t *testing.T) {
	table := NewTable[[4]uint64](10000, nil)
	n := uint64(0)
	for range 20000 {
		n++
		table.Get(key(n), n%3 == 0)
	}
	if allocs := testing.AllocsPerRun(10000, func() {
		n++
		table.Get(key(n), n%3 == 0)
		table.Find(key(n - 5))
		table.Delete(key(n - 7))
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if table.Len() > 10000 {
		t.Errorf("%d entries", table.Len())
	}
}

func BenchmarkTable(b *testing.B) {
	const live = 1 << 20
	table := NewTable[[40]uint32](live, nil)
	for i := range uint64(live) {
		table.Get(key(i), true)
	}
	b.ReportMetric(float64(table.Bytes())/live, "bytes/key")
	x := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		x = x*6364136223846793005 + 1442695040888963407
		v, _ := table.Get(key(x>>44), true)
		v[0]++
	}
}
