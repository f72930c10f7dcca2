package link

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const identityFile = "identity.json"

// identity is who a client is: a key pair that it made, the id that a server
// dealt it, and the pin of that server's certificate.
type identity struct {
	ID  string `json:"id,omitempty"`
	Pin *Pin   `json:"server_pin,omitempty"`
	Key []byte `json:"key"` // Ed25519 seed
}

// loadIdentity returns the identity in dir, or a new one with no id when there
// is none. With no dir, nothing is kept.
func loadIdentity(dir string) (*identity, error) {
	if dir == "" {
		return newIdentity(), nil
	}
	file := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the client's identity: %w", err)
	}
	var id identity
	if err := json.Unmarshal(b, &id); err != nil || len(id.Key) != ed25519.SeedSize {
		return nil, fmt.Errorf("cannot read the client's identity: %s is damaged; remove it to have a new one made", file)
	}
	return &id, nil
}

func newIdentity() *identity {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails, see its documentation
	return &identity{Key: seed}
}

func (id *identity) key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(id.Key) }

func (id *identity) public() ed25519.PublicKey { return id.key().Public().(ed25519.PublicKey) }

// dealt keeps the id that the server with this pin dealt, if it is news.
func (id *identity) dealt(name string, pin *Pin, dir string) error {
	if id.ID == name && (pin == nil || id.Pin != nil && *id.Pin == *pin) {
		return nil
	}
	id.ID = name
	if pin != nil {
		id.Pin = pin
	}
	if dir == "" {
		return nil
	}
	b, err := json.MarshalIndent(id, "", "\t")
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, identityFile), append(b, '\n')); err != nil {
		return fmt.Errorf("cannot keep the client's identity: %w", err)
	}
	return nil
}
