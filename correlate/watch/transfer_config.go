package watch

import (
	"fmt"
	"time"

	"vft/capture/flow"
	"vft/correlate/anomalyzer"
)

// TransferConfig says how Transfer watches. Start from DefaultTransferConfig.
type TransferConfig struct {
	Interval   time.Duration     // of the series; aligned to the clock
	Anomalyzer anomalyzer.Config // an anomaly is above its Threshold

	// Floor is the number of bytes per interval below which nothing is abnormal. 0: a
	// hundredth of the upper bound, so 1 MiB; below 0: none.
	Floor float64
	// Flows is how many flows are kept. A new one then drives out an idle or small one.
	Flows int
	// Idle is after how many intervals without a byte a flow is forgotten.
	Idle int
	// Evaluations is how many series at most are evaluated in an interval, the
	// largest transfers first. One takes about 50 microseconds.
	Evaluations int
	// Episodes is how many may begin to be abnormal in an interval, the largest first.
	Episodes int
	// Quiet is after how many usual intervals it is over.
	Quiet int
	// Of the newest Among intervals of a direction so many must be abnormal, and
	// together they must carry so many bytes, before anything is told. Among is 64 at
	// most.
	Needed, Among int
	Least         uint64
	// Rising: only what is more than before is abnormal, not what is less.
	Rising bool
	// Concerns is nil, or says which directions are judged at all.
	Concerns func(key *flow.Key, now int64) bool
	Severity int      // of a finding
	Seed     [32]byte // of hash tables; from crypto/rand, or fixed in a replay

	// Carried is nil, or told what a flow carried along its key and back since it
	// was last shown: Exfiltration.Carried.
	Carried func(key *flow.Key, forth, back uint64, now int64)
}

// DefaultTransferConfig returns intervals of 5 s, the five methods of Wherefore with an
// upper bound of 100 MiB and its other defaults, judged from the sixth interval of a
// flow on, each abnormal one told; 100,000 flows, forgotten after 60 idle intervals; 2,000 evaluations (a tenth
// of a second) and 100 new episodes per interval; nothing below 1 MiB per interval.
func DefaultTransferConfig() TransferConfig {
	return TransferConfig{
		Interval: 5 * time.Second,
		Anomalyzer: anomalyzer.Config{
			Methods:    []string{"diff", "fence", "highrank", "lowrank", "magnitude"},
			ActiveSize: 1, UpperBound: 100 << 20, LowerBound: anomalyzer.NA, Delay: true,
		},
		Flows: 100_000, Idle: 60, Evaluations: 2000, Episodes: 100, Quiet: 3, Needed: 1, Among: 1, Severity: 40,
	}
}

// Sustained returns c such that only transfers are told that last: three of five
// intervals more than before, 64 MiB in sum; they are leads.
func (c TransferConfig) Sustained() TransferConfig {
	c.Needed, c.Among, c.Least, c.Rising, c.Severity = 3, 5, 64<<20, true, 30
	return c
}

// Validate says what is wrong with the first setting that is.
func (c TransferConfig) Validate() error {
	switch {
	case c.Interval < time.Millisecond:
		return fmt.Errorf("cannot use transfer interval %v: it must be at least 1ms", c.Interval)
	case c.Flows < 1 || c.Flows > 1<<30:
		return fmt.Errorf("cannot watch %d flows: it must be 1 to %d", c.Flows, 1<<30)
	case c.Idle < 1 || c.Evaluations < 1 || c.Episodes < 1 || c.Quiet < 1:
		return fmt.Errorf("cannot watch with a limit of 0: idle %d, evaluations %d, episodes %d, quiet %d must be at least 1", c.Idle, c.Evaluations, c.Episodes, c.Quiet)
	}
	if c.Among < 1 || c.Among > 64 || c.Needed < 1 || c.Needed > c.Among {
		return fmt.Errorf("cannot wait for %d abnormal intervals of %d: it must be 1 to all of at most 64", c.Needed, c.Among)
	}
	_, err := anomalyzer.New(c.Anomalyzer)
	return err
}
