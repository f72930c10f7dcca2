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

// By default an upload that lasts, to a destination that is new to a host of which
// something is known, is a lead; a download is nothing, and neither is what goes to
// where the host has been for long. Who sets the anomalyzer is told of all of them.
func TestTransfersThatMatter(t *testing.T) {
	host, server := packet.AddrFrom(netip.MustParseAddr("10.0.0.1")), packet.AddrFrom(netip.MustParseAddr("198.51.100.1"))
	for _, c := range []struct {
		why      string
		all, old bool
		up, down uint64 // mebibytes in five seconds, after a minute of little
		want     bool
	}{
		{"an upload to somewhere new", false, false, 25, 0, true},
		{"a download", false, false, 0, 25, false},
		{"an upload to where it has been since yesterday", false, true, 25, 0, false},
		{"a download, and all is told", true, false, 0, 25, true},
		{"little", false, false, 2, 0, false},
	} {
		cfg := TransfersConfig{Transfer: DefaultTransferConfig(), All: c.all}
		cfg.Transfer.Anomalyzer.Seed = 1
		var told []event.Finding
		x, err := NewTransfers(cfg, func(f *event.Finding) { told = append(told, *f) })
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC).UnixNano()
		show := func(dst packet.Addr, port uint16, first int64, up, down uint64) {
			x.Flow(&flow.Record{Key: flow.Key{Src: host, Dst: dst, SrcPort: port, DstPort: 443, Proto: 6, Ports: true}, First: first, Last: at,
				Fwd: flow.Side{Payload: up}, Rev: flow.Side{Payload: down}})
			x.Advance(at)
		}
		if c.old {
			show(server, 999, at, 1000, 1000)
			at += 25 * 3600 * second
		}
		for i := range 72 { // six minutes of browsing
			show(packet.Addr4(outside+100+uint32(i%30)), uint16(1000+i), at, 900, 20_000)
			at += 5 * second
		}
		first, up, down := at, uint64(0), uint64(0)
		for i := range 20 {
			if up, down = up+1000, down+1000; i > 12 {
				up, down = up+c.up<<20, down+c.down<<20
			}
			show(server, 2000, first, up, down)
			at += 5 * second
		}
		x.Advance(at)
		x.Flush()
		got := false
		for _, f := range told {
			if f.Type == "transfer" {
				got = true
				if f.Severity > 40 || !c.all && (f.Severity >= 40 || f.Offender.String() != "10.0.0.1" || f.Dst.Addr().String() != "198.51.100.1") {
					t.Errorf("%s: %+v", c.why, f)
				}
			}
		}
		if got != c.want {
			t.Errorf("%s: told %v, want %v", c.why, got, c.want)
		}
	}
}
