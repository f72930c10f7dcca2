package traps

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/google/renameio/v2/maybe"
)

// Choice is the trap ports of a host, kept in a file: a new choice at each
// start would destroy every correlation over ports. One goroutine uses it.
type Choice struct {
	Path   string                 // of the file; "" keeps nothing
	Pool   []uint16               // to choose from
	Count  int                    // how many
	Skip   func(port uint16) bool // see Busy
	Random *rand.Rand

	ports []uint16
	bad   []uint16 // given up since the start
}

// choiceFile is the content of Path.
type choiceFile struct {
	Ports []uint16 `json:"ports"`
}

// Load returns the ports that the file keeps, without those that left the pool
// or exceed the count, filled up by Choose when there are too few, and keeps
// the result. A file that is damaged is replaced and reported; the ports are
// good then too.
func (c *Choice) Load() ([]uint16, error) {
	kept, err := c.read()
	kept = slices.DeleteFunc(kept, func(port uint16) bool { return !slices.Contains(c.Pool, port) })
	c.ports = nil
	for _, port := range kept {
		if len(c.ports) < c.Count && !slices.Contains(c.ports, port) {
			c.ports = append(c.ports, port)
		}
	}
	c.fill()
	if slices.Equal(c.ports, kept) && err == nil {
		return slices.Clone(c.ports), nil
	}
	return slices.Clone(c.ports), errors.Join(err, c.write())
}

// Replace gives up the ports that could not be opened and returns the choice
// with others in their place, fewer when the pool has no more. It keeps them.
func (c *Choice) Replace(bad []uint16) ([]uint16, error) {
	c.bad = append(c.bad, bad...)
	c.ports = slices.DeleteFunc(c.ports, func(port uint16) bool { return slices.Contains(bad, port) })
	c.fill()
	return slices.Clone(c.ports), c.write()
}

// Keep makes ports the choice, whatever the pool says: a server dealt them.
func (c *Choice) Keep(ports []uint16) error {
	if slices.Equal(c.ports, ports) {
		return nil
	}
	c.ports = slices.Clone(ports)
	return c.write()
}

// fill chooses what is missing. Only new ports are asked of Skip: one that is
// kept may still be bound by an earlier vft that is on its way out.
func (c *Choice) fill() {
	taken := slices.Concat(c.ports, c.bad)
	more := Choose(c.Pool, c.Count-len(c.ports), func(port uint16) bool {
		return slices.Contains(taken, port) || c.Skip(port)
	}, c.Random)
	c.ports = append(c.ports, more...)
	slices.Sort(c.ports)
}

func (c *Choice) read() ([]uint16, error) {
	if c.Path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the kept trap ports: %w", err)
	}
	var file choiceFile
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("cannot read the kept trap ports in %s: %w; new ones were chosen", c.Path, err)
	}
	return file.Ports, nil
}

func (c *Choice) write() error {
	if c.Path == "" {
		return nil
	}
	text, err := json.Marshal(choiceFile{c.ports})
	if err == nil {
		err = maybe.WriteFile(c.Path, append(text, 10), 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot keep the trap ports: %w; the next start will choose others", err)
	}
	return nil
}
