package link

import (
	"sync/atomic"
)

// counter names a number that only grows.
type counter uint8

// The counters of a Server. Every connection and every event that is turned
// away is counted under the reason.
const (
	sConnections counter = iota
	sAcceptErrors
	sTooManyUnproven
	sTLSFailed
	sRequestRefused
	sAuthFailed
	sHelloRefused
	sRevoked
	sRegistryFull
	sRegistryErrors
	sWelcomed
	sReplaced
	sSilent
	sFrameTooBig
	sFrameBinary
	sFrameBad
	sFrameUnknown
	sFrameStrikes
	sEvents
	sEventsAgain
	sEventsForged
	sEventsFuture
	sEventsGap
	sNotStored
	sRateLimited
	sRateIgnored
	sClockSkewed
	numServerCounters
)

// serverCounters are the names of the counters of a Server.
var serverCounters = [numServerCounters]string{
	sConnections:     "connections",
	sAcceptErrors:    "accept_errors",
	sTooManyUnproven: "refused_too_many_unproven",
	sTLSFailed:       "refused_tls",
	sRequestRefused:  "refused_request",
	sAuthFailed:      "refused_authentication",
	sHelloRefused:    "refused_hello",
	sRevoked:         "refused_revoked",
	sRegistryFull:    "refused_too_many_clients",
	sRegistryErrors:  "registry_errors",
	sWelcomed:        "welcomed",
	sReplaced:        "closed_replaced",
	sSilent:          "closed_silent",
	sFrameTooBig:     "frames_too_big",
	sFrameBinary:     "frames_binary",
	sFrameBad:        "frames_malformed",
	sFrameUnknown:    "frames_unknown_type",
	sFrameStrikes:    "closed_bad_frames",
	sEvents:          "events_stored",
	sEventsAgain:     "events_again",
	sEventsForged:    "events_forged_client",
	sEventsFuture:    "events_from_the_future",
	sEventsGap:       "events_missing",
	sNotStored:       "events_not_stored",
	sRateLimited:     "rate_limited",
	sRateIgnored:     "closed_rate_ignored",
	sClockSkewed:     "clocks_skewed",
}

// The counters of a Client.
const (
	cConnects counter = iota
	cConnectFailed
	cRefused
	cDisconnects
	cBatches
	cAcked
	cRetryAfter
	cFrameRefused
	cFrameUnknown
	cSelfTestFailed
	cInvalid
	numClientCounters
)

// clientCounters are the names of the counters of a Client.
var clientCounters = [numClientCounters]string{
	cConnects:       "connects",
	cConnectFailed:  "connect_failed",
	cRefused:        "refused",
	cDisconnects:    "disconnects",
	cBatches:        "batches_sent",
	cAcked:          "acknowledgements",
	cRetryAfter:     "retry_after",
	cFrameRefused:   "frames_refused_by_server",
	cFrameUnknown:   "frames_unknown_type",
	cSelfTestFailed: "selftests_failed",
	cInvalid:        "events_invalid",
}

type serverCounts [numServerCounters]atomic.Uint64

func (c *serverCounts) add(what counter, n int) { c[what].Add(uint64(n)) }

type clientCounts [numClientCounters]atomic.Uint64

func (c *clientCounts) add(what counter) { c[what].Add(1) }
