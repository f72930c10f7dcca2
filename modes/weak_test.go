package modes

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestShortSecretsAreWarnedOf(t *testing.T) {
	for _, c := range []struct {
		why, secret string
		warned      bool
	}{
		{"none is told where it is missed", "", false},
		{"one short of enough", "123456789012345", true},
		{"enough", "1234567890123456", false},
		{"characters count, not bytes", "ääääääääää", true},
	} {
		var log bytes.Buffer
		warnShort(zerolog.New(&log), "the secret", c.secret)
		if (log.Len() > 0) != c.warned {
			t.Errorf("%s: warned: %q", c.why, log.String())
		}
		if c.secret != "" && strings.Contains(log.String(), c.secret) {
			t.Errorf("%s: the secret is in the log", c.why)
		}
	}
}
