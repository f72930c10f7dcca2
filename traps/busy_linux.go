package traps

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// portSet is a set of ports.
type portSet [1 << 16]bool

// Busy returns a func that reports the ports a trap must leave alone: those
// that a socket of this host uses now, on any address of IPv4 or IPv6 (what
// systemd holds for a socket unit is one of them), and those the kernel deals
// to outgoing connections. The answer is of the moment of the call.
func Busy() (func(port uint16) bool, error) {
	var used, ephemeral portSet
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if err := addSockets(&used, table); err != nil {
			return nil, fmt.Errorf("cannot read the ports in use: %w; is /proc mounted?", err)
		}
	}
	ephemeral.set(setting("ip_local_port_range", "32768\t60999"), true)
	ephemeral.set(setting("ip_local_reserved_ports", ""), false)
	return func(port uint16) bool { return used[port] || ephemeral[port] }, nil
}

// addSockets adds the local ports of a table of /proc/net. A table that is not
// there (IPv6 turned off) has none.
func addSockets(set *portSet, path string) error {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	return set.addTable(file)
}

// addTable reads lines as "0: 00000000:1F90 00000000:0000 0A ...": the local
// address and port, the remote ones, and the state, in hex.
func (set *portSet) addTable(table io.Reader) error {
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !inUse(fields[3]) {
			continue
		}
		_, text, _ := strings.Cut(fields[1], ":")
		if port, err := strconv.ParseUint(text, 16, 16); err == nil {
			set[port] = true
		}
	}
	return lines.Err()
}

// inUse reports whether a program has a socket of this state: established,
// opening, waiting to be closed, listening (linux/include/net/tcp_states.h).
// The others are remains that nobody owns and that hinder no bind.
func inUse(state string) bool {
	return state == "01" || state == "02" || state == "08" || state == "0A"
}

// set gives the ports of text the value: ranges as "1-5,7,9-10", or as the two
// numbers of ip_local_port_range.
func (set *portSet) set(text string, value bool) {
	text = strings.Join(strings.Fields(text), "-")
	for part := range strings.SplitSeq(text, ",") {
		low, high, ranged := strings.Cut(part, "-")
		if !ranged {
			high = low
		}
		first, err := strconv.ParseUint(low, 10, 16)
		last, err2 := strconv.ParseUint(high, 10, 16)
		if err != nil || err2 != nil {
			continue
		}
		for port := first; port <= last; port++ {
			set[port] = value
		}
	}
}

// setting returns a value below net.ipv4, or what holds when it cannot be read.
func setting(name, otherwise string) string {
	text, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
	if err != nil {
		return otherwise
	}
	return string(text)
}
