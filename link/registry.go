package link

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const registryFile = "clients.json"

// record is what a server keeps of a client for ever.
type record struct {
	ID        string    `json:"id"`
	Key       []byte    `json:"key"` // Ed25519 public key
	Hostname  string    `json:"hostname"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Revoked   bool      `json:"revoked,omitempty"`
	Boot      string    `json:"boot,omitempty"` // the boot that Seq is of
	Seq       uint64    `json:"seq,omitempty"`  // highest number stored
}

var (
	errRegistryFull = errors.New(byeFull)
	errRevoked      = errors.New(byeRevoked)
	errUnknown      = errors.New(byeUnknown)
	errRegistry     = errors.New("the server cannot keep its list of clients; its log says why")
)

// registry is the list of all clients, in memory and in clients.json. Only who
// knows the secret or a token can make it grow; it takes no more than max and
// throws nobody out.
type registry struct {
	dir string // empty: nothing is kept
	max int
	now func() time.Time

	load func() error // reads the file, the first time it is called

	mu      sync.Mutex // guards what follows
	members map[string]*member
	byKey   map[string]*member
	changes uint64 // since start

	saving sync.Mutex // held while the file is written; guards saved
	saved  uint64     // changes in the file
}

func newRegistry(dir string, limit int, now func() time.Time) *registry {
	r := &registry{dir: dir, max: limit, now: now, members: map[string]*member{}, byKey: map[string]*member{}}
	r.load = sync.OnceValue(r.loadNow)
	return r
}

func (r *registry) loadNow() error {
	if r.dir == "" {
		return nil
	}
	file := filepath.Join(r.dir, registryFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the list of clients: %w", err)
	}
	var records []record
	if err := json.Unmarshal(b, &records); err != nil {
		return fmt.Errorf("cannot read the list of clients: %s is damaged (%w); move it away to let clients enrol again", file, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range records {
		r.lockedAdd(&member{record: rec})
	}
	return nil
}

func (r *registry) lockedAdd(m *member) {
	r.members[m.ID] = m
	r.byKey[string(m.Key)] = m
}

// find returns the client of this id, unless it was revoked.
func (r *registry) find(id string) (*member, error) {
	r.mu.Lock()
	m := r.members[id]
	r.mu.Unlock()
	if m == nil {
		return nil, errUnknown
	}
	if m.isRevoked() {
		return nil, errRevoked
	}
	return m, nil
}

// enrol returns the client of this key, which is new unless the key is known.
// A new client is in the file before enrol returns.
func (r *registry) enrol(key ed25519.PublicKey, hostname string) (*member, error) {
	m, err := r.findOrAdd(key, hostname)
	if err != nil {
		return nil, err
	}
	if m.isRevoked() {
		return nil, errRevoked
	}
	return m, nil
}

func (r *registry) findOrAdd(key ed25519.PublicKey, hostname string) (*member, error) {
	r.mu.Lock()
	if m := r.byKey[string(key)]; m != nil {
		r.mu.Unlock()
		return m, nil
	}
	if len(r.members) >= r.max {
		r.mu.Unlock()
		return nil, errRegistryFull
	}
	now := r.now()
	m := &member{record: record{ID: r.lockedName(key, hostname), Key: key, Hostname: hostname, FirstSeen: now, LastSeen: now}}
	r.lockedAdd(m)
	r.changes++
	r.mu.Unlock()
	return m, r.save()
}

// lockedName returns a free id: the host's name and as many digits of the key's
// hash as it takes, which is 8 unless someone searched for a collision.
func (r *registry) lockedName(key ed25519.PublicKey, hostname string) string {
	sum := sha256.Sum256(key)
	digits := hex.EncodeToString(sum[:])
	for n := 8; ; n += 8 {
		name := sanitise(hostname) + "-" + digits[:n]
		if r.members[name] == nil || n == len(digits) {
			return name
		}
	}
}

// sanitise returns what of a host name an id may hold: at most 63 small
// letters, digits, dots and dashes.
func sanitise(hostname string) string {
	name := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.':
			return c
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		}
		return '-'
	}, hostname)
	name = strings.Trim(name[:min(len(name), 63)], "-.")
	if name == "" {
		return "host"
	}
	return name
}

// changed notes that the file is behind; the next save writes it.
func (r *registry) changed() {
	r.mu.Lock()
	r.changes++
	r.mu.Unlock()
}

// save writes the file if it is behind. Of many that call at once, one writes
// for all: while it does the others wait, and then find their change written.
func (r *registry) save() error {
	r.mu.Lock()
	want := r.changes
	r.mu.Unlock()
	r.saving.Lock()
	defer r.saving.Unlock()
	if r.saved >= want || r.dir == "" {
		return nil
	}
	r.mu.Lock()
	want = r.changes
	members := slices.Collect(maps.Values(r.members))
	r.mu.Unlock()
	records := make([]record, len(members))
	for i, m := range members {
		records[i] = m.kept()
	}
	slices.SortFunc(records, func(a, b record) int { return strings.Compare(a.ID, b.ID) })
	b, err := json.MarshalIndent(records, "", "\t")
	if err == nil {
		err = writeFile(filepath.Join(r.dir, registryFile), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("cannot write the list of clients: %w", err)
	}
	r.saved = want
	return nil
}

// all returns every client, by id; none when the file cannot be read, which
// Serve reports.
func (r *registry) all() []*member {
	_ = r.load()
	r.mu.Lock()
	members := slices.Collect(maps.Values(r.members))
	r.mu.Unlock()
	slices.SortFunc(members, func(a, b *member) int { return strings.Compare(a.ID, b.ID) })
	return members
}
