package siem

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"vft/spool"
)

func TestComplaint(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	log := complaint{log: zerolog.New(&out), now: func() time.Time { return now }, name: "tcp://a:1"}
	for range 60 {
		log.failed(errors.New("refused"), spool.Counts{})
		now = now.Add(time.Second)
	}
	log.failed(errors.New("refused"), spool.Counts{})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], `"suppressed":59`) {
		t.Errorf("61 failures in a minute gave %q", lines)
	}
}
