package modes

import (
	"net/netip"
	"slices"

	"github.com/rs/zerolog"

	"vft/engine/host"
	"vft/event"
	"vft/link"
	"vft/modes/config"
)

// newTraps prepares the traps of this host; it opens nothing.
func newTraps(v *config.Values, dir string, log zerolog.Logger, emit event.Emit) (*host.Traps, error) {
	s, err := trapSettings(v)
	if err != nil {
		return nil, err
	}
	s.Dir, s.Log = dir, log
	return host.New(s, emit), nil
}

// trapSettings reads how many traps to choose and from which ports.
func trapSettings(v *config.Values) (host.Settings, error) {
	s := host.Settings{
		Ports: distinct(config.List[uint16](v, "trap-ports")), Count: v.Int("traps"), Pool: distinct(config.List[uint16](v, "trap-pool")),
		Bind: config.List[netip.Addr](v, "trap-bind"), Hold: v.Duration("trap-hold"),
		Hostname: hostname(), Seed: seed(), Random: newRandom(),
	}
	if len(s.Ports) == 0 && s.Count > len(s.Pool) {
		if v.Given("traps") {
			return s, v.Invalid("traps", "%d traps cannot be chosen from a pool of %d; name more with --trap-pool", s.Count, len(s.Pool))
		}
		s.Count = len(s.Pool)
	}
	own := ownPorts(v)
	s.Pool = slices.DeleteFunc(s.Pool, func(port uint16) bool { return slices.Contains(own, port) })
	return s, nil
}

// distinct keeps the first of each port.
func distinct(ports []uint16) []uint16 {
	var all []uint16
	for _, port := range ports {
		if !slices.Contains(all, port) {
			all = append(all, port)
		}
	}
	return all
}

// ownPorts are the ports of this host where vft is told to find its server or
// its SIEM. A trap there would take the place of one that starts later, and
// swallow the records meant for it.
func ownPorts(v *config.Values) (ports []uint16) {
	addresses := []string{v.Text("server")}
	if join, err := link.ParseJoin(v.Text("join")); err == nil {
		addresses = append(addresses, join.Addr())
	}
	targets, _ := destinations(v) // an error is told where they are opened
	for _, target := range targets {
		addresses = append(addresses, target.Address)
	}
	for _, address := range addresses {
		if host, port, err := config.SplitHostPort(address); err == nil && isHere(host) {
			ports = append(ports, port)
		}
	}
	return ports
}

// isHere reports whether host names this host, as far as can be told without
// asking anybody.
func isHere(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" || host == hostname()
	}
	own := func(p netip.Prefix) bool { return p.Addr() == addr.Unmap() }
	return addr.IsLoopback() || addr.IsUnspecified() || slices.ContainsFunc(ownAddresses(), own)
}
