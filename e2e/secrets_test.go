package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestShortSecretIsWarnedOf: both ends say so when they start, neither shows it.
func TestShortSecretIsWarnedOf(t *testing.T) {
	const short = "plover"
	l := inNamespace(t)
	s := l.vft("host", "server", "--secret", short, "--data-dir", t.TempDir())
	s.waitFor(s.err, 10*time.Second, `"warn"`, "the secret is shorter than 16 characters")
	s.waitFor(s.err, 10*time.Second, "listening on")
	c := l.vft("host", "client", "--secret", short, "--traps", "0", "--data-dir", t.TempDir())
	c.waitFor(c.err, 10*time.Second, `"warn"`, "the secret is shorter than 16 characters")
	c.waitFor(c.err, 10*time.Second, `"connected"`)
	for _, p := range []*process{s, c} {
		if strings.Contains(p.err.tail(100)+p.out.tail(100), short) {
			t.Errorf("%s shows the secret", p.name)
		}
	}
}

// TestJoinRefusesAnotherCertificate: the token is not shown to a server that
// has not the certificate of the join string, and the client says what to do.
func TestJoinRefusesAnotherCertificate(t *testing.T) {
	l := inNamespace(t)
	s := l.vft("host", "server", "--data-dir", t.TempDir())
	line := s.waitFor(s.err, 10*time.Second, "vft client --join vft1:")
	join := strings.Fields(line[strings.Index(line, "vft1:"):])[0]
	fields := strings.Split(join, ":")
	pin := fields[len(fields)-2]
	fields[len(fields)-2] = strings.Repeat("A", len(pin))
	l.vftFails(4, []string{"is not the one of the join string", "a relay", "a new certificate", "give --join the string"},
		"client", "--join", strings.Join(fields, ":"), "--traps", "0")
	if state := s.stop(); state != 0 {
		t.Errorf("the server ended with %d", state)
	}
}
