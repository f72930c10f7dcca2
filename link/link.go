// Package link carries events from the clients of a fleet to its server: JSON
// text frames over a TLS 1.3 WebSocket, each side proven to the other before
// anything else is said, each event stored once and in order.
//
// A Client keeps its events in a spool until the server has acknowledged them;
// it connects again for ever, and only acknowledged events leave the spool. A
// Server numbers what it has per client and boot, so that an event that comes
// twice is taken once. Who an event is from is taken from the connection.
package link

import (
	"errors"
	"time"
)

const (
	path        = "/v1/link"
	subprotocol = "vft.v1"

	maxFrame    = 1 << 20   // bytes of a frame after the hello
	maxHello    = 64 << 10  // bytes of a hello
	maxGreeting = 4 << 10   // bytes of a frame before the proof
	maxRequest  = 8 << 10   // bytes of the upgrade request
	maxBatch    = 64        // events of a frame that a client sends
	maxEvents   = 4096      // events of a frame that a server takes
	maxPorts    = 4096      // ports of one list
	maxPrefixes = 64        // addresses of a client
	maxIgnore   = 1024      // prefixes of the ignore list
	maxStrikes  = 3         // bad frames of a connection, the last one ends it
	sendBuffer  = 48 << 10  // bytes; a batch fits, so it is one WebSocket frame
	batchBytes  = 512 << 10 // bytes after which a batch takes no more events

	keptBuffer = 256 << 10 // bytes of a pooled buffer that are worth keeping
	keptEvents = 1024

	writeTimeout = 10 * time.Second
	batchDelay   = 100 * time.Millisecond // longest wait for more events of a batch
)

// ErrRefused is wrapped by the error of Client.Run when trying again cannot
// help: the server refuses the key, or the client cannot trust the server.
var ErrRefused = errors.New("refused")

// lostConnection is why a connection ended that nobody ended.
const lostConnection = "connection lost"

// The reasons of a bye on which the client acts.
const (
	byeAuthentication = "authentication failed"
	byeUnknown        = "unknown client"
	byeRevoked        = "this client was revoked"
	byeReplaced       = "another connection uses this client's identity"
	byeStopping       = "the server stops"
	byeStore          = "the server cannot store events now"
	byeRate           = "too many frames after retry_after"
	byeFull           = "the server has as many clients as it takes"
)
