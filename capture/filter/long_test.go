package filter

import (
	"fmt"
	"strings"
	"testing"
)

// TestLongLists compares programs whose branches are longer than an instruction
// can say.
func TestLongLists(t *testing.T) {
	needTcpdump(t)
	list := func(word, format string, n int) string {
		var parts []string
		for i := range n {
			parts = append(parts, fmt.Sprintf(format, i/250, i%250))
		}
		return word + " " + strings.Join(parts, " or ")
	}
	var total comparison
	set := packets(t)[LinkEthernet]
	for _, text := range []string{
		list("host", "10.1.%d.%d", 60), list("host", "10.1.%d.%d", 150), list("src net", "10.%d.%d.0/24", 120),
		list("tcp dst port", "1%d%03d", 150), list("host", "2001:db8::%d:%d", 100),
		"not (" + list("host", "10.1.%d.%d", 100) + ") and tcp", "udp and not " + list("port", "1%d%03d", 110),
	} {
		total.compare(t, LinkEthernet, text, set[:min(len(set), 300)])
	}
	total.log(t)
	if total.accepted != total.expressions {
		t.Errorf("%d of %d lists were refused", total.refused, total.expressions)
	}
}
