package packetlog

import (
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"vft/capture/packet"
)

// Whatever the sizes: only a block that is too long for a line crosses one, and
// the file parses after every packet.
func TestLayout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	rapid.Check(t, func(rt *rapid.T) {
		b := appendSection(nil)
		size := rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(3900, 4200), rapid.IntRange(0, 70_000))
		devices := uint32(0)
		n := rapid.IntRange(1, 40).Draw(rt, "packets")
		for i := range n {
			if devices == 0 || rapid.IntRange(0, 9).Draw(rt, "interface") == 0 {
				end := blockEnd(int64(len(b)), interfaceSize)
				if b = appendInterface(b, int64(len(b)), packet.LinkEthernet, 0); int64(len(b)) != end {
					rt.Fatalf("an interface ends at %d, not %d", len(b), end)
				}
				devices++
			}
			data := make([]byte, size.Draw(rt, "size"))
			end := blockEnd(int64(len(b)), blockSize(len(data)))
			if b = appendPacket(b, int64(len(b)), record{devices - 1, int64(i), 0, data}); int64(len(b)) != end {
				rt.Fatalf("a packet of %d bytes ends at %d, not %d", len(data), len(b), end)
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			rt.Fatal(err)
		}
		if packets := parse(t, path); len(packets) != n || packets[n-1].ts != int64(n-1) {
			rt.Fatalf("%d packets of %d", len(packets), n)
		}
	})
}
