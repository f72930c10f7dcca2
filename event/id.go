package event

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"time"
)

// ID names an Event, unique in the fleet. It is a UUID of version 7 (RFC 9562
// section 5.7): 48 bits of milliseconds, then random bits.
type ID [16]byte

var errID = errors.New("an event id is 36 characters, as 0190a0b0-1234-7abc-8def-001122334455")

// IDs makes IDs. One goroutine uses it. The same seed and times give the same
// IDs, which a replay needs; a live part seeds it from crypto/rand.
type IDs struct{ random *rand.ChaCha8 }

// NewIDs returns a maker of IDs.
func NewIDs(seed [32]byte) *IDs { return &IDs{rand.NewChaCha8(seed)} }

// Next returns a new ID for an event at t.
func (g *IDs) Next(t time.Time) ID {
	var id ID
	binary.BigEndian.PutUint64(id[:8], uint64(t.UnixMilli())<<16|g.random.Uint64()&0x0fff|0x7000)
	binary.BigEndian.PutUint64(id[8:], g.random.Uint64()&^(3<<62)|2<<62)
	return id
}

// MarshalBinary returns where the maker stands, so that UnmarshalBinary goes on
// with the same IDs.
func (g *IDs) MarshalBinary() ([]byte, error) { return g.random.MarshalBinary() }

// UnmarshalBinary goes on where MarshalBinary was called.
func (g *IDs) UnmarshalBinary(b []byte) error {
	if g.random == nil {
		g.random = rand.NewChaCha8([32]byte{})
	}
	return g.random.UnmarshalBinary(b)
}

// IsZero reports whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the 36 characters of RFC 9562 section 4.
func (id ID) String() string {
	b, _ := id.AppendText(nil)
	return string(b)
}

// AppendText appends the 36 characters of RFC 9562 section 4 to b.
func (id ID) AppendText(b []byte) ([]byte, error) {
	for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b, nil
}

// MarshalText returns the 36 characters of RFC 9562 section 4.
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText reads the 36 characters of RFC 9562 section 4, in either case.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) != 36 || b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return errID
	}
	var digits [32]byte
	n := 0
	for i, c := range b {
		if i != 8 && i != 13 && i != 18 && i != 23 {
			digits[n] = c
			n++
		}
	}
	var got ID
	if _, err := hex.Decode(got[:], digits[:]); err != nil {
		return errID
	}
	*id = got
	return nil
}
