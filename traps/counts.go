package traps

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
)

// counts are the counters of a Set.
type counts struct {
	accepted   atomic.Uint64 // completed connections, without self-tests
	held       atomic.Uint64 // read from
	sourceFull atomic.Uint64 // closed unread: too many of one source
	allFull    atomic.Uint64 // closed unread: too many in all
	payloads   atomic.Uint64 // held connections that sent something
	synMissing atomic.Uint64 // the system kept no SYN
	tested     atomic.Uint64 // self-tests that came through
	testFailed atomic.Uint64 // self-tests that did not
	accepts    [len(acceptKinds)]atomic.Uint64

	mu     sync.Mutex
	before netstat // when Run began
}

// acceptKinds are the errors of accept that are counted apart; the last takes
// every other.
var acceptKinds = [...]struct {
	name string
	err  error
}{
	{"accept_emfile", syscall.EMFILE},             // limit of the process
	{"accept_enfile", syscall.ENFILE},             // limit of the host
	{"accept_enobufs", syscall.ENOBUFS},           // no memory for sockets
	{"accept_enomem", syscall.ENOMEM},             //
	{"accept_econnaborted", syscall.ECONNABORTED}, // the peer left the queue
	{"accept_other", nil},
}

// acceptFailed counts err and returns the name of its kind.
func (c *counts) acceptFailed(err error) (kind string) {
	last := len(acceptKinds) - 1
	for i, kind := range acceptKinds[:last] {
		if errors.Is(err, kind.err) {
			c.accepts[i].Add(1)
			return kind.name
		}
	}
	c.accepts[last].Add(1)
	return acceptKinds[last].name
}

// ownFault reports whether trying again at once would fail again. Only a peer
// that left is no reason to pause.
func ownFault(err error) bool { return !errors.Is(err, syscall.ECONNABORTED) }

func (c *counts) yield(yield func(name string, n uint64)) {
	yield("accepted", c.accepted.Load())
	yield("held", c.held.Load())
	yield("closed_source_full", c.sourceFull.Load())
	yield("closed_all_full", c.allFull.Load())
	yield("payloads", c.payloads.Load())
	yield("syn_missing", c.synMissing.Load())
	yield("selftest_passed", c.tested.Load())
	yield("selftest_failed", c.testFailed.Load())
	for i, kind := range acceptKinds {
		yield(kind.name, c.accepts[i].Load())
	}
	now, ok := readNetstat()
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	yield("listen_overflows", now.listenOverflows-c.before.listenOverflows)
	yield("listen_drops", now.listenDrops-c.before.listenDrops)
	yield("syncookies_sent", now.syncookiesSent-c.before.syncookiesSent)
}

func (c *counts) startNetstat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before, _ = readNetstat()
}

// netstat is what the host's TCP lost before accept.
type netstat struct {
	listenOverflows uint64 // handshakes that a full accept queue refused
	listenDrops     uint64 // SYNs and handshakes dropped by listeners, overflows included
	syncookiesSent  uint64 // SYNs answered without memory: a flood
}
