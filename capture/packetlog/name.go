package packetlog

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/ipproto"
)

const (
	suffix       = ".pcapng"
	hiddenSuffix = ".tmp"
)

// baseName is what the names of a flow's files begin with: its first packet's
// time (UTC, to the nanosecond), protocol, source and destination. No character
// in it means anything to any file system; the colons of IPv6 are dashes.
func baseName(k flow.Key, start int64) string {
	at := time.Unix(0, start).UTC().Format("20060102T150405.000000000Z")
	return "vft_" + at + "_" + protocol(k.Proto) + "_" + end(k.Src, k.SrcPort, k.Ports) + "_" + end(k.Dst, k.DstPort, k.Ports)
}

func end(a packet.Addr, port uint16, ports bool) string {
	s := strings.ReplaceAll(a.String(), ":", "-")
	if ports {
		s += "." + strconv.Itoa(int(port))
	}
	return s
}

// protocol returns the name of an IP protocol number, or the number.
func protocol(number uint8) string {
	if name := ipproto.Name(number); name != "" {
		return name
	}
	return "ip" + strconv.Itoa(int(number))
}

// fileName returns the name of the file number seq of a flow.
func fileName(base string, seq int) string { return fmt.Sprintf("%s_%04d%s", base, seq, suffix) }

// freePath returns a path for name in dir that no file has: with a number behind
// the name when another run, or a flow of the same nanosecond, has it.
func freePath(dir, name string) string {
	path := filepath.Join(dir, name)
	for n := 2; exists(path); n++ {
		path = filepath.Join(dir, strings.TrimSuffix(name, suffix)+"~"+strconv.Itoa(n)+suffix)
	}
	return path
}

// ownName matches the files that a Log makes in its directory, the hidden ones
// too.
func ownName() *regexp.Regexp {
	const file = `vft_\d{8}T\d{6}\.\d{9}Z_[a-z0-9-]+_[0-9a-f.-]+_[0-9a-f.-]+_\d{4,}(~\d+)?\.pcapng`
	return regexp.MustCompile(`^(` + file + `|\.` + file + `\.tmp|\.?vft_probe(\.tmp)?)$`)
}

// removeLeftovers removes from dir what a killed run left: all its files, or
// the unfinished ones alone.
func removeLeftovers(dir string, unfinishedAlone bool) (removed int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("cannot read %s: %w", dir, reason(err))
	}
	own := ownName()
	for _, e := range entries {
		finished := strings.HasSuffix(e.Name(), suffix)
		if !e.Type().IsRegular() || !own.MatchString(e.Name()) || finished && unfinishedAlone {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return removed, fmt.Errorf("cannot remove the packets of an earlier run from %s: %w", dir, reason(err))
		}
		removed++
	}
	return removed, nil
}

// diskUse returns what the files of dir take, in the units of the quota.
func diskUse(dir string) (sum int64) {
	entries, _ := os.ReadDir(dir) // what can be read of it
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			sum += charge(info.Size())
		}
	}
	return sum
}

// charge is what a file of size bytes takes of the quota: whole units of 4 KiB,
// as it does on most disks.
func charge(size int64) int64 { return (size + line - 1) / line * line }
