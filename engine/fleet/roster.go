package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2/maybe"

	"vft/link"
	"vft/traps"
)

// returnTime is how long clients may take to find a server that was away: the
// longest pause between two attempts.
const returnTime = time.Minute

// missed is how many heartbeats a client may miss.
const missed = 3

// roster knows which clients there are, when each was last heard, and which
// trap ports it was dealt.
type roster struct {
	path     string
	interval time.Duration

	mu      sync.Mutex // guards what follows
	dealer  *traps.Dealer
	dirty   bool
	heard   map[string]time.Time
	lost    map[string]bool
	dropped map[string]uint64
}

// newRoster reads the deals of an earlier server. The roster is good even when
// it returns an error.
func newRoster(path string, interval time.Duration, random *rand.Rand) (*roster, error) {
	hands := map[string]traps.Hand{}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err == nil:
		if err = json.Unmarshal(text, &hands); err != nil {
			err = fmt.Errorf("cannot read %s: %w", path, err)
		}
	}
	return &roster{
		path: path, interval: interval, dealer: traps.NewDealer(traps.Pool(), hands, random),
		heard: map[string]time.Time{}, lost: map[string]bool{}, dropped: map[string]uint64{},
	}, err
}

// expect notes clients of earlier, so that one that does not come back is
// missed.
func (r *roster) expect(clients []link.ClientState, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range clients {
		if _, here := r.heard[c.ID]; !here && !c.Revoked && now.Sub(c.LastSeen) < 24*time.Hour {
			r.heard[c.ID] = now.Add(returnTime)
		}
	}
}

// deal returns the trap ports of a client that came. A client that chooses
// from a pool of its own, or has fixed ports, is dealt none.
func (r *roster) deal(h link.Hello, now time.Time) []uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard[h.Client] = now
	if h.Want <= 0 || !slices.Equal(slices.Sorted(slices.Values(h.Pool)), slices.Sorted(slices.Values(traps.Pool()))) {
		r.dealer.Forget(h.Client)
		return nil
	}
	r.dirty = true
	if len(h.Failed) > 0 {
		r.dealer.Refuse(h.Client, h.Failed)
	}
	return r.dealer.Deal(h.Client, h.Want)
}

// beat notes a heartbeat; it returns a new deal when ports could not be bound.
func (r *roster) beat(client string, b link.Heartbeat, now time.Time) []uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard[client] = now
	ports, dealt := r.dealer.Ports(client)
	switch {
	case !dealt:
		return nil
	case len(b.Failed) > 0:
		r.dirty = true
		ports = r.dealer.Refuse(client, b.Failed)
		r.dealer.Rebalance() // the others hear of it by their next heartbeat
	case slices.Equal(ports, slices.Sorted(slices.Values(b.Traps))):
		return nil
	}
	return ports
}

// fail notes that the traps of a client do not report, so that a heartbeat that
// says they do again counts as a return.
func (r *roster) fail(client string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost[client] = true
}

// drops reports whether a client has lost more events than it had said.
func (r *roster) drops(client string, dropped uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	more := dropped > r.dropped[client]
	r.dropped[client] = dropped
	return more
}

// silent returns the clients that have been silent for three heartbeats and
// were not reported yet.
func (r *roster) silent(now time.Time) (lost []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for client, at := range r.heard {
		if now.Sub(at) > missed*r.interval && !r.lost[client] {
			r.lost[client] = true
			lost = append(lost, client)
		}
	}
	slices.Sort(lost)
	return lost
}

// returned reports whether client was missed.
func (r *roster) returned(client string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.lost[client]
	delete(r.lost, client)
	return was
}

// save keeps the deals, when they changed.
func (r *roster) save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.dirty {
		return nil
	}
	r.dirty = false
	text, err := json.Marshal(r.dealer.Hands())
	if err == nil {
		err = maybe.WriteFile(r.path, append(text, '\n'), 0o600)
	}
	return err
}
