package traps

import (
	"os"
	"strconv"
	"strings"
)

// readNetstat reads the counters of this network namespace.
func readNetstat() (netstat, bool) {
	text, err := os.ReadFile("/proc/net/netstat")
	if err != nil {
		return netstat{}, false
	}
	return parseNetstat(string(text))
}

// parseNetstat finds the two lines that begin with "TcpExt:": names, then
// values in the same order.
func parseNetstat(text string) (n netstat, ok bool) {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "TcpExt:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names[:min(len(names), len(fields))] {
			value, _ := strconv.ParseUint(fields[i], 10, 64)
			switch name {
			case "ListenOverflows":
				n.listenOverflows = value
			case "ListenDrops":
				n.listenDrops = value
			case "SyncookiesSent":
				n.syncookiesSent = value
			}
		}
		return n, true
	}
	return n, false
}
