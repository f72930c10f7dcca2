// Command make writes the captures of testdata: always the same bytes. Run it
// from the root of the repository: go run ./testdata/make
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	dir := flag.String("dir", "testdata", "where to write")
	flag.Parse()
	if err := write(*dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// captures are the files and who makes them.
func captures() map[string]func(*capture) {
	return map[string]func(*capture){
		"scan.pcap":      scan,
		"mixed.pcap":     mixed,
		"exports.pcap":   exports,
		"transfers.pcap": transfers,
	}
}

func write(dir string) error {
	for name, fill := range captures() {
		c := newCapture()
		fill(c)
		data, err := c.bytes()
		if err != nil {
			return fmt.Errorf("cannot make %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("cannot write a capture: %w", err)
		}
	}
	return nil
}
