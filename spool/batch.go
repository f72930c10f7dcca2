package spool

import "sort"

// Batch is a row of whole records of one class that lie side by side. Its bytes
// must not be changed, and are valid until it is settled or given back.
type Batch struct {
	Class Class
	First uint64 // number of the first record, in its class
	Data  []byte // the records, one after the other

	base uint32   // where Data begins in what ends counts from
	ends []uint32 // where each record ends
}

// Len returns how many records the batch has.
func (b Batch) Len() int { return len(b.ends) }

// end returns where the first n records end in Data.
func (b Batch) end(n int) int {
	if n == 0 {
		return 0
	}
	return int(b.ends[n-1] - b.base)
}

// Record returns the record at a place in the batch, the first being 0.
func (b Batch) Record(i int) []byte { return b.Data[b.end(i):b.end(i+1)] }

// Before returns the first n records.
func (b Batch) Before(n int) Batch {
	b.Data, b.ends = b.Data[:b.end(n)], b.ends[:n]
	return b
}

// After returns the batch without its first n records.
func (b Batch) After(n int) Batch {
	end := b.end(n)
	b.First += uint64(n)
	b.Data, b.ends = b.Data[end:], b.ends[n:]
	b.base += uint32(end)
	return b
}

// One returns the batch that has only the record at a place.
func (b Batch) One(i int) Batch { return b.After(i).Before(1) }

// Within returns as many records as fit into so many bytes, at least one.
func (b Batch) Within(bytes int) Batch {
	if len(b.Data) <= bytes {
		return b
	}
	return b.Before(max(1, b.Whole(bytes)))
}

// Whole returns how many records end within the first so many bytes.
func (b Batch) Whole(bytes int) int {
	return sort.Search(len(b.ends), func(i int) bool { return int(b.ends[i]-b.base) > bytes })
}
