package sensor

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()

const second = int64(time.Second)

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

// tcp returns a flow of one packet that ends so long after epoch.
func tcp(src, dst string, port uint16, flags packet.Flags, bytes uint64, at int64) flow.Record {
	return flow.Record{
		Key:   flow.Key{Src: addr(src), Dst: addr(dst), SrcPort: 40000, DstPort: port, Proto: 6, Ports: true},
		Fwd:   flow.Side{Packets: 1, Bytes: bytes, Flags: flags},
		First: epoch + at, Last: epoch + at, End: flow.Idle,
		Export: flow.Export{Exporter: addr("192.0.2.1"), Version: flow.NetFlow9},
	}
}

func parse(t testing.TB, text string) Definitions {
	t.Helper()
	d, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// listener collects what a set says.
type listener struct {
	*Set
	events []event.Event
}

func listen(t testing.TB, d Definitions, change ...func(*Config)) *listener {
	t.Helper()
	l := &listener{}
	cfg := Config{Definitions: d, Seed: [32]byte{1}, Emit: l.hear}
	for _, f := range change {
		f(&cfg)
	}
	l.Set = New(cfg)
	return l
}

func (l *listener) hear(e event.Event) { l.events = append(l.events, e) }

func (l *listener) give(flows ...flow.Record) {
	for i := range flows {
		l.Flow(&flows[i])
	}
}

// fired returns the events that begin an episode.
func (l *listener) fired() (list []event.Event) {
	for _, e := range l.events {
		if e.Threat.State == event.Firing {
			list = append(list, e)
		}
	}
	return list
}

func (l *listener) count(name string) (value uint64) {
	l.Counts(func(n string, v uint64) {
		if n == name {
			value = v
		}
	})
	return value
}

var versions = []flow.Version{flow.Captured, flow.NetFlow1, flow.NetFlow5, flow.NetFlow7, flow.NetFlow9, flow.IPFIX, flow.SFlow5}

// as turns a flow into one that came by a version: captured ones and those of
// sFlow count link headers too.
func as(v flow.Version, r flow.Record) flow.Record {
	r.Export = flow.Export{Exporter: addr("192.0.2.1"), Version: v}
	if v == flow.Captured {
		r.Export = flow.Export{}
	}
	if v == flow.Captured || v == flow.SFlow5 {
		r.LinkHeader = 14
		r.Fwd.Bytes += 14 * r.Fwd.Packets
		if r.Proto == 17 {
			r.Fwd.Payload = r.Fwd.Bytes - (14+28)*r.Fwd.Packets
		}
	}
	return r
}

func TestThresholdsOfEachVersion(t *testing.T) {
	syn := func(n int, port uint16, flags packet.Flags, bytes uint64, apart int64) (list []flow.Record) {
		for i := range n {
			list = append(list, tcp("10.0.0.9", fmt.Sprintf("10.1.0.%d", 1+i%250), port, flags, bytes, int64(i)*apart))
		}
		return list
	}
	udp := func(n int, bytes uint64) (list []flow.Record) {
		for i := range n {
			r := tcp("10.0.0.9", "10.1.0.1", uint16(1+i), 0, bytes, int64(i)*1e6)
			r.Proto = 17
			list = append(list, r)
		}
		return list
	}
	for _, c := range []struct {
		why   string
		kind  string
		flows []flow.Record
		want  int
	}{
		{"20 flows are not more than 20", "spam", syn(20, 25, 27, 900, second), 0},
		{"21 are, within 60 s", "spam", syn(21, 25, 27, 900, 2999*second/1000), 1},
		{"21 that take 60 s are 20 in any 60 s", "spam", syn(21, 25, 27, 900, 3*second), 0},
		{"465 is a mail port", "spam", syn(21, 465, 27, 900, second), 1},
		{"587 is a mail port", "spam", syn(21, 587, 27, 900, second), 1},
		{"993 is a mail port", "spam", syn(21, 993, 27, 900, second), 1},
		{"143 is none", "spam", syn(21, 143, 27, 900, second), 0},
		{"40 flows are one threat", "spam", syn(40, 25, 27, 900, second), 1},

		{"512 bits", "winscan", syn(1, 445, 2, 64, 0), 1},
		{"520 bits", "winscan", syn(1, 445, 2, 65, 0), 0},
		{"SYN and RST", "winscan", syn(1, 135, 6, 64, 0), 1},
		{"SYN and ACK", "winscan", syn(1, 445, 18, 64, 0), 0},
		{"SYN, RST and ACK", "winscan", syn(1, 445, 22, 64, 0), 0},
		{"another port", "winscan", syn(1, 446, 2, 64, 0), 0},

		{"100 flows are not more than 100", "portscan", syn(100, 23, 2, 60, second/2), 0},
		{"101 are", "portscan", syn(101, 23, 2, 60, second/2), 1},
		{"101 in 60 s are 100 in any 60 s", "portscan", syn(101, 23, 2, 60, 600*second/1000), 0},
		{"SYN and RST of at most 62 bytes", "portscan", syn(101, 23, 6, 62, second/2), 1},
		{"SYN and RST of 63 bytes are 504 bits", "portscan", syn(101, 23, 6, 63, second/2), 0},
		{"SYN alone to 125 bytes", "portscan", syn(101, 23, 2, 125, second/2), 1},
		{"SYN alone of 126 bytes", "portscan", syn(101, 23, 2, 126, second/2), 0},
		{"flows to 8443 do not count", "portscan", syn(101, 8443, 2, 60, second/2), 0},
		{"empty datagrams", "portscan", udp(101, 28), 1},
		{"datagrams of one byte", "portscan", udp(101, 29), 0},
		{"100 empty datagrams", "portscan", udp(100, 28), 0},
	} {
		for _, v := range versions {
			l := listen(t, parse(t, ""))
			w := newWire(v)
			for _, r := range c.flows {
				if slices.Contains([]flow.Version{flow.NetFlow5, flow.NetFlow9, flow.IPFIX, flow.SFlow5}, v) {
					l.give(w.send(t, r))
				} else {
					l.give(as(v, r))
				}
			}
			fired := slices.DeleteFunc(l.fired(), func(e event.Event) bool { return e.Threat.Type != c.kind })
			if len(fired) != c.want {
				t.Errorf("%s by %q (%s): %d threats, want %d", c.kind, v, c.why, len(fired), c.want)
			}
		}
	}
}

func TestCoolDown(t *testing.T) {
	for _, c := range []struct {
		why   string
		again int64
		want  int
	}{
		{"in the cool-down", 599 * second, 1},
		{"a millisecond before its end", 600*second - 1e6, 1},
		{"at its end", 600 * second, 2},
	} {
		for _, v := range []flow.Version{flow.NetFlow5, flow.NetFlow9, flow.IPFIX, flow.SFlow5} {
			l, w := listen(t, parse(t, "")), newWire(v)
			l.give(w.send(t, tcp("10.0.0.9", "10.1.0.1", 445, 2, 60, 0)), w.send(t, tcp("10.0.0.9", "10.1.0.2", 445, 2, 60, c.again)))
			if n := len(l.fired()); n != c.want {
				t.Errorf("%s, %s: %d threats, want %d", c.why, v, n, c.want)
			}
		}
	}
}
