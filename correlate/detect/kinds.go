package detect

// addKinds builds the detections that stand beside scans, floods and logins: of the
// web, of the local network and of tunnels.
func (d *Detections) addKinds(cfg *Config, home home) {
	d.web = newWeb(d.hash, d.episodes)
	d.tunnels = newICMPTunnels(d.hash, d.episodes)
	d.tunnels.call = d.flows.called
	d.routers = newRouters(home, cfg.Gateways, cfg.Known)
	d.redirects = newICMPRedirect(d.episodes, d.routers, d.spoof)
	d.advertised = newRogueRA(d.episodes, d.routers, d.spoof)
	d.macs = newMACFlood(d.hash, d.episodes)
	d.starve = newDHCPStarvation(d.hash, d.episodes)
	d.names = newNamePoisoning(d.hash, d.episodes)
	d.answers = newDNSSpoof(d.hash, d.episodes, home, d.spoof)
	d.onAdvance = append(d.onAdvance, d.web.flood.advance)
	d.onClose = append(d.onClose, d.web.flood.advance, d.macs.close)
	d.onCount = append(d.onCount, d.web.counts, d.tunnels.counts, d.routers.counts, d.advertised.counts, d.starve.counts, d.names.counts, d.answers.counts)
}
