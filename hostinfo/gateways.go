package hostinfo

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Gateways returns the IPv4 routers of this host, which are known to be right;
// none where the system does not keep them in a file.
func Gateways() []netip.Addr {
	file, err := os.Open("/proc/net/route")
	if err != nil {
		return nil
	}
	defer file.Close()
	return readGateways(file)
}

// readGateways reads /proc/net/route: after a heading a line a route, the
// second field the destination, the third the gateway, in hex as the bytes lie
// in memory.
func readGateways(r io.Reader) (all []netip.Addr) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || fields[1] != "00000000" {
			continue
		}
		b, err := hex.DecodeString(fields[2])
		if err != nil || len(b) != 4 {
			continue
		}
		if hostIsLittleEndian() {
			slices.Reverse(b)
		}
		if a := netip.AddrFrom4([4]byte(b)); !a.IsUnspecified() && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// hostIsLittleEndian reports the order in which this machine keeps numbers.
func hostIsLittleEndian() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }
