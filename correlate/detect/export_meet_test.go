package detect

import (
	"slices"
	"testing"
	"unsafe"

	"vft/capture/flow"

	"pgregory.net/rapid"
)

// A flow takes no more memory than is told.
func TestMeetingIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(meeting{}); size != 128 {
		t.Errorf("%d bytes, not two lines of 64", size)
	}
}

// meet plays records into a table of meetings and returns what it tells, and the
// role of each record.
func meet(all []flow.Record, after int64) (told []flow.Record, roles []role) {
	m := newMeetings(newHasher([32]byte{1}), func(r *flow.Record) { told = append(told, *r) })
	now := int64(0)
	for i := range all {
		now = max(now, all[i].Last)
		m.advance(now)
		v, as := m.meet(&all[i], uint16(all[i].Export.Exporter.Lo), now)
		roles = append(roles, as)
		if as == answer && !v.told {
			m.answered(v)
		}
	}
	m.advance(now + after)
	return told, roles
}

func TestDirectionsMeet(t *testing.T) {
	const client, server = "10.0.0.5", "203.0.113.7"
	ask := half(client, 40000, server, 443, protoTCP, whole, 8, 900, flowEpoch+second/8)
	reply := back(ask, whole, 7, 5000)
	coarse := half(client, 40000, server, 443, protoTCP, ack, 1, 40, flowEpoch)
	elsewhere := func(r flow.Record) flow.Record { r.Export.Exporter = address("192.0.2.2"); return r }
	later := func(r flow.Record, s int64) flow.Record { r.First += s * second; r.Last += s * second; return r }
	until := func(r flow.Record, s int64) flow.Record { r.Last = r.First + s*second; return r }
	open := func(r flow.Record) flow.Record { r.Fwd.Flags = ack; return r }
	high := half(client, 40000, server, 8443, protoTCP, whole, 8, 900, flowEpoch)
	for _, c := range []struct {
		why   string
		flows []flow.Record
		told  int
		roles []role
	}{
		{"both directions", []flow.Record{ask, reply}, 1, []role{first, answer}},
		{"the reply first", []flow.Record{reply, ask}, 1, []role{first, answer}},
		{"of two exporters", []flow.Record{ask, elsewhere(reply)}, 1, []role{first, answer}},
		{"told by three routers", []flow.Record{ask, elsewhere(ask), reply, elsewhere(reply)}, 1, []role{first, duplicate, answer, duplicate}},
		{"metered on the way in and on the way out", []flow.Record{ask, ask, reply, reply}, 1, []role{first, duplicate, answer, duplicate}},
		{"packets of one second, of an exporter that knows no less", []flow.Record{coarse, coarse, coarse}, 1, []role{first, more, more}},
		{"only one direction", []flow.Record{ask}, 1, []role{first}},
		{"only the reply", []flow.Record{reply}, 1, []role{first}},
		{"cut by the active timeout", []flow.Record{until(ask, 60), until(reply, 60), later(open(ask), 61), later(open(reply), 61)}, 1, []role{first, answer, more, more}},
		{"the ports are used again", []flow.Record{ask, reply, later(ask, 10), later(reply, 10)}, 2, []role{first, answer, first, answer}},
		{"the first exporter fell silent", []flow.Record{open(ask), until(open(reply), 100), elsewhere(later(open(ask), 50)), elsewhere(later(open(ask), 90)), elsewhere(later(open(ask), 95))}, 1,
			[]role{first, answer, duplicate, more, more}},
		{"an hour later it is another flow", []flow.Record{open(ask), later(open(ask), 3600)}, 2, []role{first, first}},
		{"no port is known: the client began earlier", []flow.Record{later(back(high, whole, 7, 5000), 3), high}, 1, []role{first, answer}},
		{"refused on a high port", []flow.Record{back(high, rst|ack, 1, 40), half(client, 40000, server, 8443, protoTCP, syn, 1, 60, flowEpoch)}, 1, []role{first, answer}},
	} {
		told, roles := meet(c.flows, meetTime+second)
		if len(told) != c.told || !slices.Equal(roles, c.roles) {
			t.Errorf("%s: %d told, roles %v", c.why, len(told), roles)
		}
		for _, r := range told {
			if r.Src != address(client) {
				t.Errorf("%s: goes from %v to %v", c.why, r.Src, r.Dst)
			}
		}
	}
}

// In whatever order the records of flows come, each flow is told once, whole
// where both directions came within the time.
func TestMeetingsTellEachFlowOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "flows")
		var all []flow.Record
		for i := range n {
			r := half("10.0.0.5", uint16(40000+i), "203.0.113.7", 443, protoTCP, whole, 8, 900, flowEpoch)
			all = append(all, r)
			if rapid.Bool().Draw(t, "answered") {
				all = append(all, back(r, whole, 7, 5000))
			}
		}
		told, _ := meet(rapid.Permutation(all).Draw(t, "order"), meetTime+second)
		directions := 0
		for _, r := range told {
			if r.DstPort != 443 || r.Fwd.Packets != 8 {
				t.Fatalf("%+v", r)
			}
			directions += 1 + int(r.Rev.Packets/7)
		}
		if len(told) != n || directions != len(all) {
			t.Fatalf("%d flows told of %d, %d directions of %d", len(told), n, directions, len(all))
		}
	})
}

// Beacons and new peers see exported flows as those of captures.
func TestExportedBeaconAndNewPeer(t *testing.T) {
	for _, c := range []struct {
		why      string
		port     uint16
		reversed bool
		want     []string
	}{
		{"a host inside calls every 5 minutes", 443, false, []string{"beacon by 10.0.0.5"}},
		{"a client outside calls a server inside every 5 minutes", 443, true, nil},
	} {
		x := newExported(t, Config{})
		for _, s := range every(300, 0, 288) {
			at := flowEpoch + s*second
			r := half("10.0.0.5", uint16(40000+s/300), "203.0.113.7", c.port, protoTCP, whole, 8, 900, at)
			if c.reversed {
				r.Src, r.Dst = r.Dst, r.Src
			}
			answer := back(r, whole, 7, 5000)
			x.Advance(at)
			x.Flow(&answer) // exporters do not tell the client's direction first
			x.Flow(&r)
		}
		if got := x.fired(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", c.why, got)
		}
	}
	x := newExported(t, Config{})
	x.Learn(1)
	for i, port := range []uint16{22, 80, 3389} {
		at := flowEpoch + int64(i+1)*60*second
		r := half("10.0.0.5", 40000, "10.0.0.9", port, protoTCP, whole, 8, 900, at)
		answer := back(r, whole, 7, 5000)
		x.Advance(at)
		x.Flow(&answer)
		x.Flow(&r)
	}
	if got := x.fired(); !slices.Equal(got, []string{"new_peer by 10.0.0.5"}) {
		t.Errorf("new peers: %v", got)
	}
}

// Config.Exported gets each direction once, with corrected times.
func TestExportedDirections(t *testing.T) {
	const off = 48 * hour
	var got []flow.Record
	x := newExported(t, Config{Exported: func(r *flow.Record) { got = append(got, *r) }})
	ask := half("10.0.0.5", 40000, "203.0.113.7", 443, protoTCP, whole, 8, 900, flowEpoch)
	elsewhere := ask
	elsewhere.Export.Exporter = address("192.0.2.2")
	elsewhere.First, elsewhere.Last = flowEpoch+off, flowEpoch+off
	both := half("10.0.0.6", 40000, "203.0.113.7", 443, protoTCP, whole, 8, 900, flowEpoch)
	both.Rev = flow.Side{Packets: 7, Bytes: 5000}
	for _, r := range []flow.Record{ask, elsewhere, back(ask, whole, 7, 5000), both} {
		x.Flow(&r)
	}
	bytes, packets := uint64(0), uint64(0)
	for _, r := range got {
		bytes += r.Bytes()
		packets += r.Packets()
		if r.Rev != (flow.Side{}) || r.First != flowEpoch {
			t.Errorf("%+v", r)
		}
	}
	if len(got) != 4 || bytes != 2*5900 || packets != 30 {
		t.Errorf("%d directions with %d packets, %d bytes", len(got), packets, bytes)
	}
}
