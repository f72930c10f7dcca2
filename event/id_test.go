package event

import (
	"testing"
	"time"
)

func TestIDsAreUniqueOrderedAndRepeatable(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	a, b := NewIDs([32]byte{1}), NewIDs([32]byte{1})
	seen := map[ID]bool{}
	last := ""
	for i := range 1000 {
		id := a.Next(at.Add(time.Duration(i) * time.Millisecond))
		if again := b.Next(at.Add(time.Duration(i) * time.Millisecond)); again != id {
			t.Fatalf("the same seed gave %v, then %v", id, again)
		}
		if seen[id] || id.String() <= last {
			t.Fatalf("id %v is not new or not after %v", id, last)
		}
		if id[6]>>4 != 7 || id[8]>>6 != 2 {
			t.Fatalf("id %v is not a UUID of version 7", id)
		}
		seen[id], last = true, id.String()
	}
}

func TestIDText(t *testing.T) {
	for _, c := range []struct {
		text, why string
		ok        bool
	}{
		{"0190a0b0-1234-7abc-8def-001122334455", "as written", true},
		{"0190A0B0-1234-7ABC-8DEF-001122334455", "capitals are hex digits too", true},
		{"", "empty", false},
		{"0190a0b0-1234-7abc-8def-00112233445", "one digit short", false},
		{"0190a0b0x1234-7abc-8def-001122334455", "a dash is missing", false},
		{"0190a0b0-1234-7abc-8def-00112233445g", "not a hex digit", false},
	} {
		var id ID
		if err := id.UnmarshalText([]byte(c.text)); (err == nil) != c.ok {
			t.Errorf("%s: %q gave %v", c.why, c.text, err)
		}
	}
}

func TestEvidenceNeverLeavesItsRange(t *testing.T) {
	if got := Evidence(200).String(); got != "E3" {
		t.Errorf("a level from the network gave %q", got)
	}
}
