package packets

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/ipproto"
)

const (
	topMost  = 20               // flows in a table
	topEvery = 10 * time.Second // between two tables of the debug log; packet time
)

// topFlows are the flows with the most bytes of all that were added, the most
// first. No more than topMost are ever held.
type topFlows []flow.Record

// add takes a flow in if it is among the busiest; it keeps a copy.
func (t *topFlows) add(r *flow.Record) {
	all := *t
	if len(all) == topMost {
		if !ranksBefore(r, &all[topMost-1]) {
			return
		}
		all = all[:topMost-1]
	}
	at := sort.Search(len(all), func(i int) bool { return ranksBefore(r, &all[i]) })
	all = append(all, flow.Record{})
	copy(all[at+1:], all[at:])
	all[at] = *r
	*t = all
}

// ranksBefore reports whether a stands before b. The order is total, so that it does
// not matter in which order, or from which table, flows come.
func ranksBefore(a, b *flow.Record) bool {
	return cmp.Or(cmp.Compare(b.Bytes(), a.Bytes()), cmp.Compare(b.Packets(), a.Packets()), cmp.Compare(a.First, b.First),
		compareAddrs(a.Src, b.Src), compareAddrs(a.Dst, b.Dst), cmp.Compare(a.Proto, b.Proto),
		cmp.Compare(a.SrcPort, b.SrcPort), cmp.Compare(a.DstPort, b.DstPort)) < 0
}

func compareAddrs(a, b packet.Addr) int {
	return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo))
}

// write writes the flows as a table, or nothing when there are none.
func (t topFlows) write(out io.Writer) {
	if len(t) == 0 {
		return
	}
	fmt.Fprintf(out, "%15s %12s %10s  %s\n", "bytes", "packets", "seconds", "flow")
	for i := range t {
		r := &t[i]
		fmt.Fprintf(out, "%15d %12d %10.1f  %s\n", r.Bytes(), r.Packets(), r.Duration().Seconds(), flowText(r))
	}
}

// flowText names a flow: "tcp 192.0.2.1:4000 > 192.0.2.2:443".
func flowText(r *flow.Record) string {
	proto := ipproto.Name(r.Proto)
	if proto == "" {
		proto = fmt.Sprintf("ip/%d", r.Proto)
	}
	end := func(a packet.Addr, port uint16) string {
		if !r.Ports {
			return a.String()
		}
		return netip.AddrPortFrom(a.Netip(), port).String()
	}
	return fmt.Sprintf("%s %s > %s", proto, end(r.Src, r.SrcPort), end(r.Dst, r.DstPort))
}

// topTicker writes the busiest of the flows that are open to the debug log,
// every topEvery.
type topTicker struct {
	log  zerolog.Logger
	on   func() bool // whether the log takes debug messages now; nil: never
	next int64       // packet time of the next table; 0: none was due yet
	last topFlows    // of the table before: where nothing moved, none is written
}

// tick is called now and then, at packet time now. Where no table is due, or
// nobody reads it, open is not called.
func (t *topTicker) tick(now int64, open func(each func(*flow.Record))) {
	if t.on == nil || now < t.next || !t.on() {
		return
	}
	first := t.next == 0
	t.next = now + int64(topEvery)
	if first {
		return
	}
	var top topFlows
	open(top.add)
	if len(top) == 0 || slices.Equal(top, t.last) {
		return
	}
	t.last = top
	var table strings.Builder
	top.write(&table)
	t.log.Debug().Msg("the busiest of the open flows:\n" + strings.TrimSuffix(table.String(), "\n"))
}
