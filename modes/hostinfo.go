package modes

import (
	crand "crypto/rand"
	"math/rand/v2"
	"os"
)

// hostname is the name of this host, "unknown" when it has none.
func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "unknown"
	}
	return name
}

// seed returns fresh random bytes.
func seed() (s [32]byte) {
	_, _ = crand.Read(s[:]) // never fails (crypto/rand)
	return s
}

func newRandom() *rand.Rand { return rand.New(rand.NewChaCha8(seed())) }
