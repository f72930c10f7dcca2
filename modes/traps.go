package modes

import (
	"slices"

	"github.com/rs/zerolog"

	"vft/engine/host"
	"vft/event"
	"vft/hostinfo"
	"vft/link"
	"vft/modes/settings"
)

// newTraps prepares the traps of this host; it opens nothing.
func newTraps(v *settings.Settings, dir string, log zerolog.Logger, emit event.Emit) (*host.Traps, error) {
	s, err := trapSettings(v)
	if err != nil {
		return nil, err
	}
	s.Dir, s.Log = dir, log
	return host.New(s, emit), nil
}

// trapSettings reads how many traps to choose and from which ports.
func trapSettings(v *settings.Settings) (host.Settings, error) {
	s := host.Settings{
		Ports: uniquePorts(v.Traps.Ports), Count: v.Traps.Count, Pool: uniquePorts(v.Traps.Pool),
		Bind: v.Traps.Bind, Hold: v.Traps.Hold,
		Hostname: hostinfo.Name(), Seed: seed(), Random: newRandom(),
	}
	if len(s.Ports) == 0 && s.Count > len(s.Pool) {
		if v.Given(&v.Traps.Count) {
			return s, v.Invalid(&v.Traps.Count, "%d traps cannot be chosen from a pool of %d; name more with --trap-pool", s.Count, len(s.Pool))
		}
		s.Count = len(s.Pool)
	}
	own := ownPorts(v)
	s.Pool = slices.DeleteFunc(s.Pool, func(port uint16) bool { return slices.Contains(own, port) })
	return s, nil
}

// uniquePorts keeps the first of each port.
func uniquePorts(ports []uint16) []uint16 {
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
func ownPorts(v *settings.Settings) (ports []uint16) {
	addresses := []string{v.Client.Server}
	if join, err := link.ParseJoin(v.Client.Join); err == nil {
		addresses = append(addresses, join.Addr())
	}
	targets, _ := destinations(v) // an error is told where they are opened
	for _, target := range targets {
		addresses = append(addresses, target.Address)
	}
	for _, address := range addresses {
		if host, port, err := settings.SplitHostPort(address); err == nil && hostinfo.Is(host) {
			ports = append(ports, port)
		}
	}
	return ports
}
