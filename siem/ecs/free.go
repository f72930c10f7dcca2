package ecs

import (
	"slices"

	"vft/event"
)

// name appends a key that may need escaping, and its colon.
func (r record) name(s string) record {
	if r[len(r)-1] != '{' {
		r = append(r, ',')
	}
	return append(r.string(s), ':')
}

// sorted appends a map in the order of its keys, each value by write.
func sorted[V any](r record, m map[string]V, write func(record, V) record) record {
	var room [event.MaxKeys]string
	names := room[:0]
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	r = r.open()
	for _, name := range names {
		r = write(r.name(name), m[name])
	}
	return r.close()
}

// freeMap appends a map of any values. What is more than depth levels deep in
// it becomes null.
func (r record) freeMap(m map[string]any, depth int) record {
	return sorted(r, m, func(r record, v any) record { return r.free(v, depth) })
}

func (r record) freeList(list []any, depth int) record {
	r = r.array()
	for _, v := range list {
		r = r.item().free(v, depth)
	}
	return r.endArray()
}

// free appends any value that encoding/json can write, null for what it cannot.
func (r record) free(v any, depth int) record {
	switch v := v.(type) {
	case nil:
		return r.raw("null")
	case bool:
		return r.bool(v)
	case int:
		return r.int(int64(v))
	case int64:
		return r.int(v)
	case uint64:
		return r.uint(v)
	case float64:
		return r.float(v)
	case string:
		return r.string(v)
	case []any:
		if depth == 0 {
			return r.raw("null")
		}
		return r.freeList(v, depth-1)
	case map[string]any:
		if depth == 0 {
			return r.raw("null")
		}
		return r.freeMap(v, depth-1)
	}
	return r.free(event.ReadBack(v), depth)
}
