package link

import (
	"sync"
	"time"
)

// member is one client: what the registry keeps, and what is true now.
type member struct {
	record // ID and Key never change; mu guards the rest

	// turn is held while a func of ServerConfig runs for this client, so that
	// they are called one at a time and never for a connection that was replaced.
	turn sync.Mutex

	mu      sync.Mutex // guards what follows and the rest of record; held for moments only
	session *session   // nil when it is not connected
	hello   Hello
	beat    Heartbeat
	beatAt  time.Time
	clock   clock
	skewed  bool
	bucket  bucket
}

// begin makes c the connection of m, unless m was revoked meanwhile.
func (m *member) begin(c *session, hello Hello, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Revoked {
		return false
	}
	m.session, m.hello = c, hello
	m.Hostname, m.LastSeen = hello.Hostname, now
	if m.Boot != hello.Boot {
		m.Boot, m.Seq = hello.Boot, 0
		m.clock = clock{}
	}
	m.beat = Heartbeat{Traps: hello.Traps, Failed: hello.Failed}
	m.clock.add(hello.Time, now)
	c.seq = m.Seq
	return true
}

// leave reports whether c was the connection of m, which has none then.
func (m *member) leave(c *session, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session != c {
		return false
	}
	m.session = nil
	m.LastSeen = now
	return true
}

func (m *member) heard(beat Heartbeat, now time.Time) Heartbeat {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock.add(beat.Time, now)
	beat.Offset = m.clock.offset()
	m.beat, m.beatAt, m.LastSeen = beat, now, now
	return beat
}

func (m *member) stored(seq uint64, now time.Time) {
	m.mu.Lock()
	m.Seq, m.LastSeen = seq, now
	m.mu.Unlock()
}

func (m *member) isCurrent(c *session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.session == c
}

// close ends the connection of m for this reason and reports whether there was
// one.
func (m *member) close(reason string) bool {
	m.mu.Lock()
	c := m.session
	m.mu.Unlock()
	if c != nil {
		c.bye(reason)
	}
	return c != nil
}

func (m *member) isRevoked() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Revoked
}

func (m *member) setRevoked(revoked bool) {
	m.mu.Lock()
	m.Revoked = revoked
	m.mu.Unlock()
}

func (m *member) kept() record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.record
}

func (m *member) state() ClientState {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := ClientState{
		ID: m.ID, Hostname: m.Hostname, Version: m.hello.Version, Connected: m.session != nil, Revoked: m.Revoked,
		FirstSeen: m.FirstSeen, LastSeen: m.LastSeen, LastHeartbeat: m.beatAt, Offset: m.clock.offset(),
		Dropped: m.beat.Dropped, Spooled: m.beat.Spooled, SelfTest: m.beat.SelfTest, Traps: m.beat.Traps, Failed: m.beat.Failed,
	}
	if m.session != nil {
		state.Addr = m.session.ws.RemoteAddr().String()
	}
	return state
}
