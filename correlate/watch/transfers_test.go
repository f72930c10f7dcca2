package watch

import (
	"net/netip"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// What is told when a run ends in the middle of an interval did not happen at the
// end of it.
func TestTransfersAreNotAhead(t *testing.T) {
	now := time.Date(2026, 1, 5, 10, 31, 0, 0, time.UTC)
	var all []event.Finding
	x, err := NewExportedTransfers([32]byte{}, TransfersConfig{}, func(f *event.Finding) { all = append(all, *f) })
	if err != nil {
		t.Fatal(err)
	}
	x.Advance(now.UnixNano())
	x.Flow(&flow.Record{
		Key: flow.Key{Src: packet.AddrFrom(netip.MustParseAddr("10.0.0.1")), Dst: packet.AddrFrom(netip.MustParseAddr("198.51.100.1")), Proto: 6, Ports: true},
		Fwd: flow.Side{Packets: 2 << 20, Bytes: 2 << 30}, First: now.UnixNano(), Last: now.UnixNano(),
	})
	x.Close()
	if len(all) == 0 || all[0].Type != "exfiltration" {
		t.Fatalf("%+v", all)
	}
	for _, f := range all {
		if f.Time.After(now) {
			t.Errorf("%s at %s, which is ahead of %s", f.Type, f.Time, now)
		}
	}
}
