package record

import (
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

func TestWriterGivesIDAndHost(t *testing.T) {
	var got []event.Event
	w := NewWriter([32]byte{1}, "here", func(e event.Event) { got = append(got, e) })
	own := event.ID{9}
	w.Write(event.Event{Time: time.Unix(1, 0)})
	w.Write(event.Event{Time: time.Unix(1, 0), ID: own, Host: "there"})
	w.Write(event.Event{Time: time.Unix(1, 0)})
	if got[0].ID.IsZero() || got[0].ID == got[2].ID || got[0].Host != "here" {
		t.Errorf("%v %q, then %v", got[0].ID, got[0].Host, got[2].ID)
	}
	if got[1].ID != own || got[1].Host != "there" {
		t.Errorf("what it had is taken away: %v %q", got[1].ID, got[1].Host)
	}
}

func TestFlows(t *testing.T) {
	r := flow.Record{
		Key: flow.Key{Src: packet.Addr4(0x0a000001), Dst: packet.Addr4(0x0a000002), SrcPort: 4000, DstPort: 443, Proto: 6, Ports: true},
		Fwd: flow.Side{Packets: 20, Bytes: 2000, Payload: 100, Flags: 2}, Rev: flow.Side{Packets: 10, Bytes: 5000, Payload: 4000, Flags: 0x10}, First: 1e9, Last: 3e9, End: flow.Idle,
	}
	captured := Flow(&r)
	f := captured.Flow
	if captured.Transport != "tcp" || captured.Src.String() != "10.0.0.1:4000" || captured.Time.Unix() != 3 || f.Bytes != 7000 || f.Packets != 30 || f.SrcBytes != 2000 ||
		f.DstPackets != 10 || f.Payload != 4100 || f.TCPFlags != 0x12 || f.Ended != "idle" || f.End.Sub(f.Start) != 2*time.Second {
		t.Errorf("%+v %+v", captured, f)
	}
	r.Export.Exporter, r.Export.Version, r.Export.Sampling = packet.Addr4(0xc0000201), flow.NetFlow9, 10
	f = ExportedFlow(&r).Flow
	if f.Ended != "" || f.Exporter != "192.0.2.1" || f.Version != "netflow9" || f.Sampling != 10 || f.SampledPackets != 3 || f.SampledBytes != 700 || f.Bytes != 7000 {
		t.Errorf("%+v", f)
	}
}
