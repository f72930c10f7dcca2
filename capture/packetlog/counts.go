package packetlog

import (
	"sync/atomic"
)

// counter is one of the counters of a Log.
type counter int

const (
	packetsSeen counter = iota
	packetsWritten
	packetsDiscarded
	droppedQuota
	droppedMemory
	droppedError
	droppedAfterAlert
	droppedLink
	droppedClosed
	packetsCut
	bytesWritten
	flowsStarted
	flowsEnded
	flowsArchived
	flowsEvictedMax
	flowsEvictedQuota
	archiveUnknown
	filesStarted
	filesRotated
	filesRemoved
	filesArchived
	filesLost
	leftoversRemoved
	errorsWrite
	errorsArchive
	errorsRemove
	flowsNow
	filesOpen
	bytesBuffered
	bytesOnDisk
	counters
)

func (c counter) String() string {
	names := [counters]string{
		packetsSeen:       "packets_seen",
		packetsWritten:    "packets_written",
		packetsDiscarded:  "packets_discarded",
		droppedQuota:      "packets_dropped_quota",
		droppedMemory:     "packets_dropped_memory",
		droppedError:      "packets_dropped_error",
		droppedAfterAlert: "packets_dropped_after_alert",
		droppedLink:       "packets_dropped_link_type",
		droppedClosed:     "packets_dropped_closed",
		packetsCut:        "packets_cut",
		bytesWritten:      "bytes_written",
		flowsStarted:      "flows_started",
		flowsEnded:        "flows_ended",
		flowsArchived:     "flows_archived",
		flowsEvictedMax:   "flows_evicted_max",
		flowsEvictedQuota: "flows_evicted_quota",
		archiveUnknown:    "archive_unknown",
		filesStarted:      "files_started",
		filesRotated:      "files_rotated",
		filesRemoved:      "files_removed",
		filesArchived:     "files_archived",
		filesLost:         "files_lost",
		leftoversRemoved:  "leftovers_removed",
		errorsWrite:       "errors_write",
		errorsArchive:     "errors_archive",
		errorsRemove:      "errors_remove",
		flowsNow:          "flows",
		filesOpen:         "files_open",
		bytesBuffered:     "bytes_buffered",
		bytesOnDisk:       "bytes_on_disk",
	}
	return names[c]
}

// counts are written by the one goroutine of a Log and read by any.
type counts [counters]atomic.Uint64

func (c *counts) add(of counter, n int)       { c[of].Add(uint64(n)) }
func (c *counts) set(of counter, value int64) { c[of].Store(uint64(value)) }
func (c *counts) get(of counter) (n uint64)   { return c[of].Load() }
func (c *counts) failures() (n uint64) {
	return c.get(errorsWrite) + c.get(errorsArchive) + c.get(errorsRemove)
}
func (c *counts) yield(f func(string, uint64)) {
	for of := range counters {
		f(of.String(), c[of].Load())
	}
}

// Counts yields the counters; any goroutine may call it.
//
// packets_seen = packets_written + packets_discarded (of flows that ended
// before their packets were written) + the packets_dropped_ of each reason (the
// quota is used up and nothing can be evicted; too many packets wait to be
// written; a write failed; a flow that alerted has filled its files; a link type
// that pcapng cannot tell; the Log is not open) + those that wait in memory,
// none after Close. packets_cut were longer than Snaplen.
//
// flows_started = flows_ended + flows_evicted_max + flows_evicted_quota + flows.
// archive_unknown are calls of Archive for flows without packets here.
// files_rotated and files_removed are files deleted in favour of newer ones of
// the flow and with their flow; files_lost are files that somebody else changed
// or removed. flows, files_open, bytes_buffered and bytes_on_disk (archive
// included, in units of 4 KiB) are as of now.
func (l *Log) Counts(yield func(name string, n uint64)) { l.count.yield(yield) }

// failed counts an error and logs it, once a minute for each kind.
func (l *Log) failed(kind counter, what string, err error) {
	l.count.add(kind, 1)
	l.lastError = err
	if suppressed, ok := l.lines.Pass(kind.String(), l.cfg.Now()); ok {
		l.cfg.Log.Warn().Err(err).Uint64("suppressed", suppressed).Msg(what)
	}
}
