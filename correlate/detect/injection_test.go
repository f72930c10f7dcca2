package detect

import (
	"path/filepath"
	"testing"
)

// What HoneyBadger reported of each capture, in its kinds; retransmissions are
// no attack.
func TestInjection(t *testing.T) {
	dir := filepath.Join(reference(t, "golden"), "tcpattack")
	for _, c := range []struct{ file, kind, why string }{
		{"benign", "", "an ordinary connection"},
		{"benign_retransmit", "", "the same bytes again, and in other segments"},
		{"synack_retransmit", "", "the same SYN/ACK again"},
		{"handshake_hijack", "handshake_hijack", "a second SYN/ACK with another sequence number"},
		{"ordered_injection", "ordered", "other bytes under the same sequence number"},
		{"partial_overlap_injection", "partial_overlap", "other bytes over the end of one segment and the next"},
		{"coalesce_injection", "coalesce", "other bytes between a gap and what waits behind it"},
		{"censor_injection_FIN", "closing_fin", "data where a FIN was"},
		{"censor_injection_RST", "closing_rst", "data where a RST was"},
	} {
		fired := replay(t, filepath.Join(dir, c.file+".pcap"), Config{}).fired()
		if c.kind == "" {
			if len(fired) != 0 {
				t.Errorf("%s: %s", c.why, line(&fired[0]))
			}
			continue
		}
		if len(fired) != 1 || fired[0].Threat.Type != "tcp_injection" || fired[0].Threat.Details["injection"] != c.kind || fired[0].Threat.Offender != "10.9.0.1" {
			t.Errorf("%s: %d records", c.why, len(fired))
			for i := range fired {
				t.Log(line(&fired[i]))
			}
		}
	}
}
