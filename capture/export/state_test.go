package export

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"vft/capture/flow"
)

func TestStateOverRestart(t *testing.T) {
	d := NewDecoder(Config{})
	feed(d,
		ipfixOf(1, 0, set(2, templateOf(256, modern...), templateOf(257, spec{8, 4, 0}, spec{12, 4, 0}, spec{22, 4, 0}, spec{21, 4, 0}, spec{2, 4, 0})),
			set(3, optionsOf(300, 1, spec{302, 4, 0}, spec{34, 4, 0}, spec{160, 8, 0}))),
		ipfixOf(1, 0, set(300, u32(7), u32(100), u64(uint64(sentAt.UnixMilli())-60_000))),
		netflow9Of(2, 0, set(0, templateOf(256, usual...)), set(1, optionsOf9(300, 1, spec{1, 4, 0}, spec{34, 4, 0})), set(300, u32(0), u32(50))),
		fixedDatagram(flow.NetFlow7, 1, 0),
	)
	text, err := json.Marshal(d.Save())
	if err != nil {
		t.Fatal(err)
	}
	var state State
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	after := NewDecoder(Config{})
	if err := after.Restore(state); err != nil {
		t.Fatal(err)
	}
	if again := after.Save(); !reflect.DeepEqual(again, state) {
		t.Errorf("kept again:\n%+v\nwant\n%+v", again, state)
	}
	data := [][]byte{
		ipfixOf(1, 1, set(256, modernRecord()), set(257, []byte{10, 0, 0, 1, 10, 0, 0, 2}, u32(57_000), u32(59_000), u32(1))),
		netflow9Of(2, 1, set(256, usualRecord())),
	}
	want, got := feed(d, data...), feed(after, data...)
	if len(got) != 3 || !reflect.DeepEqual(got, want) {
		t.Errorf("after:\n%+v\nbefore:\n%+v", got, want)
	}
	for e := range after.Exporters() {
		if e.Lost != 0 || e.Datagrams != 1 {
			t.Errorf("%+v", e)
		}
	}
}

func TestStateIsChecked(t *testing.T) {
	good := TemplateState{Record: templateOf(256, modern...)}
	a := netip.MustParseAddr("192.0.2.1")
	cases := []struct {
		state ExporterState
		want  string
	}{
		{ExporterState{}, "no exporter"},
		{ExporterState{Address: a, Version: "netflow8"}, "no exporter"},
		{ExporterState{Address: a, Version: ""}, "no exporter"},
		{ExporterState{Address: a, Version: "netflow5", Templates: []TemplateState{good}}, "no template"},
		{ExporterState{Address: a, Version: "ipfix", Templates: []TemplateState{{}}}, "no template"},
		{ExporterState{Address: a, Version: "ipfix", Templates: []TemplateState{{Record: good.Record[:20]}}}, "no template"},
		{ExporterState{Address: a, Version: "ipfix", Templates: []TemplateState{{Record: append(good.Record[:len(good.Record):len(good.Record)], 0)}}}, "no template"},
		{ExporterState{Address: a, Version: "ipfix", Templates: []TemplateState{{Record: templateOf(256, spec{8, 0, 0})}}}, "no template"},
		{ExporterState{Address: a, Version: "ipfix", Templates: []TemplateState{{Record: templateOf(256)}}}, "no template"},
		{ExporterState{Address: a, Version: "ipfix", Samplers: []SamplerState{{"moon", 1, 1}}}, "no sampler"},
		{ExporterState{Address: a, Version: "ipfix", Samplers: []SamplerState{{"selector", 1, 0}}}, "no sampler"},
	}
	for _, c := range cases {
		d := NewDecoder(Config{})
		sound := ExporterState{Address: netip.MustParseAddr("192.0.2.9"), Version: "ipfix", Templates: []TemplateState{good}}
		err := d.Restore(State{Exporters: []ExporterState{c.state, sound}})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "1 of 2") {
			t.Errorf("%+v: %v, want %q", c.state, err, c.want)
		}
		if got := d.Datagram(netip.MustParseAddrPort("192.0.2.9:1"), ipfixOf(0, 0, set(256, modernRecord())), 0, nil); len(got) != 1 {
			t.Errorf("%+v: the sound exporter is lost", c.state)
		}
	}
	same := ExporterState{Address: a, Version: "ipfix"}
	if err := NewDecoder(Config{}).Restore(State{Exporters: []ExporterState{same, same}}); err == nil {
		t.Error("an exporter twice is taken")
	}
	d := NewDecoder(Config{MaxExporters: 2})
	var many State
	for i := range byte(9) {
		many.Exporters = append(many.Exporters, ExporterState{Address: netip.AddrFrom4([4]byte{10, 0, 0, i}), Version: "ipfix", Templates: []TemplateState{good}})
	}
	if err := d.Restore(many); err != nil || len(d.exporters.byKey) != 2 || d.exporters.first.addr != addr("10.0.0.8") {
		t.Errorf("%v, %d exporters of at most 2", err, len(d.exporters.byKey))
	}
}
