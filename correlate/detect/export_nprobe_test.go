package detect

import (
	"bufio"
	"compress/gzip"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vft/capture/flow"
	"vft/capture/packet"
)

// probeFlows reads what nProbe wrote, a record a line: the columns src, dst, next
// hop, in, out, packets, bytes, first, last, source port, destination port, flags,
// protocol ...
func probeFlows(t testing.TB, path string) (all []flow.Record) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	in, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		v := strings.Split(lines.Text(), "|")
		src, err := netip.ParseAddr(v[0])
		if err != nil {
			continue // the names of the columns
		}
		number := func(i int) uint64 { n, _ := strconv.ParseUint(v[i], 10, 64); return n }
		r := half(src.String(), uint16(number(9)), v[1], uint16(number(10)), uint8(number(12)), packet.Flags(number(11)), number(5), number(6), int64(number(7))*second)
		r.Last = int64(number(8)) * second
		all = append(all, r)
	}
	return all
}

// Two servers are flooded with SYN of some thousand false sources, whose time is
// told in seconds.
func TestExportedAttackOnServers(t *testing.T) {
	all := probeFlows(t, filepath.Join(reference(t, "corpus"), "labelled", "nprobe-attack", "3-Attacco_2.flows.gz"))
	x := newExported(t, Config{})
	for i := range all {
		x.Advance(all[i].Last)
		x.Flow(&all[i])
	}
	if got := x.fired(); !slices.Equal(got, []string{"syn_flood by many", "syn_flood by many"}) {
		t.Errorf("%v", got)
	}
	targets := map[string]any{}
	for _, e := range x.records {
		targets[e.Dst.String()] = e.Threat.Details["value"]
	}
	if len(targets) != 2 || targets["123.45.1.33:80"] != 37781. || targets["1.2.61.180:80"] != 37781. {
		t.Errorf("%v", targets)
	}
}
