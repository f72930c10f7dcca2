package incident

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vft/event"
)

// This file holds every sentence that a person reads of findings and incidents: who
// did what to whom, how much of which unit in which time, with which tool, and
// whether it succeeded.

// sentence is what a finding says.
func (t *finding) sentence() string {
	subject, predicate := t.parts()
	return subject + " " + predicate
}

// maxClauses is how many findings the sentence of an incident tells of.
const maxClauses = 4

// sentence is what an incident says.
func (i *incident) sentence(a *event.Alert) string {
	said := i.said()
	if a.State == event.Resolved {
		said += " (over: " + cmp.Or(a.Reason, "quiet") + ")"
	}
	return said
}

func (i *incident) said() string {
	if i.Overflow != "" {
		return i.saidOfMany()
	}
	clauses := i.clauses()
	switch {
	case len(clauses) == 0:
		return "something was seen of " + i.Key
	case len(clauses) == 1:
		return clauses[0].subject + " " + clauses[0].predicate + i.doubt()
	}
	subject := clauses[0].subject
	var all []string
	for _, c := range clauses {
		if c.subject == subject {
			all = append(all, c.predicate)
		} else {
			all = append(all, c.subject+" "+c.predicate)
		}
	}
	rest := ""
	if len(all) > maxClauses {
		rest = fmt.Sprintf("; and %s more", number(float64(len(all)-maxClauses)))
		all = all[:maxClauses]
	}
	if hosts := i.targets(); i.Kind == event.BySource && hosts > 1 {
		return fmt.Sprintf("%s is attacking %s hosts: %s%s%s", subject, number(float64(hosts)), strings.Join(all, "; "), rest, i.doubt())
	}
	return subject + " " + strings.Join(all, "; ") + rest + i.doubt()
}

// doubt says that the sources are probably decoys of one.
func (i *incident) doubt() string {
	if !i.Decoys || len(i.Sources) < 2 {
		return ""
	}
	return fmt.Sprintf("; the same came from %s other addresses at once: one is the scanner, the others are probably decoys", number(float64(len(i.Sources)-1)))
}

// targets is how many hosts an incident is about.
func (i *incident) targets() int { return max(len(i.Victims), len(i.Clients)) }

type clause struct{ subject, predicate string }

// clauses are what the findings of an incident say, strongest first. The rules over
// trap hits are one.
func (i *incident) clauses() (all []clause) {
	findings := slices.Clone(i.Findings)
	slices.SortStableFunc(findings, func(x, y *finding) int {
		if x == i.strongest || y == i.strongest {
			return cmp.Compare(btoi(y == i.strongest), btoi(x == i.strongest))
		}
		return cmp.Compare(y.Rank, x.Rank)
	})
	traps, statistics := false, 0
	for _, t := range findings {
		switch {
		case t.Rule && i.Kind == event.BySource && trapRules[t.Type]:
			if !traps {
				traps = true
				all = append(all, clause{i.Key, i.touched()})
			}
			continue
		case t.Type == statistic:
			if statistics++; statistics > 2 {
				continue
			}
		}
		subject, predicate := t.parts()
		if t.Offender.IsValid() && i.Kind == event.BySource && !t.Many && i.Decoys && len(all) > 0 && all[0].predicate == predicate {
			continue
		}
		all = append(all, clause{subject, predicate})
	}
	return slices.CompactFunc(all, func(a, b clause) bool { return a == b })
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// trapRules are the fleet rules of which one sentence tells.
var trapRules = map[string]bool{"touch": true, "same-source": true, "host-scan": true, "slow-scan": true, "sweep": true, "same-port": true, "same-client": true, "victim": true, "port-campaign": true}

// touched tells which traps a source touched.
func (i *incident) touched() string {
	var ports []uint16
	tool := ""
	for _, t := range i.Findings {
		if t.Rule && trapRules[t.Type] {
			for _, p := range t.Ports {
				ports = list(ports, p, maxListed)
			}
			tool = cmp.Or(tool, t.Tool)
		}
	}
	what := "traps"
	switch len(ports) {
	case 0:
	case 1:
		what = "trap " + portName(ports[0])
	default:
		what = atLeast(len(ports), maxListed) + " traps (" + portList(ports) + ")"
	}
	on := ""
	switch len(i.Clients) {
	case 0:
	case 1:
		on = " of " + i.Clients[0]
	default:
		on = " of " + atLeast(len(i.Clients), maxListed) + " clients"
	}
	said := "touched " + what + on
	if len(i.Findings) == slicesCount(i.Findings, func(t *finding) bool { return t.Rule }) {
		said += ", " + times(i.Count)
		if span := i.End.Sub(i.Start); i.Count > 1 && span >= time.Minute {
			said += " over " + spanText(span)
		}
	}
	return said + withTool(tool)
}

func slicesCount[T any](all []T, is func(T) bool) (n int) {
	for _, one := range all {
		if is(one) {
			n++
		}
	}
	return n
}

// saidOfMany is the sentence of an overflow.
func (i *incident) saidOfMany() string {
	n, window := uint64(0), time.Hour
	for _, t := range i.Findings {
		n = max(n, uint64(t.Value))
	}
	where := ""
	switch {
	case i.Kind == event.BySource:
		where = " of " + i.Key
	case i.Kind == event.ByClient:
		where = " reported by " + i.Key
	case strings.ContainsAny(i.Key, ".:"):
		where = " told by the exporter " + i.Key
	}
	forgeable := ""
	if i.Evidence == event.E0 {
		forgeable = " that may be forged"
	}
	said := fmt.Sprintf("%s more sources%s%s were noticed %s, too many in %s to tell of each", number(float64(n)), where, forgeable, times(i.Count), spanText(window))
	if heaviest := i.heaviest(3); len(heaviest) > 0 {
		names := make([]string, len(heaviest))
		for k, a := range heaviest {
			names[k] = a.String()
		}
		said += "; the heaviest: " + strings.Join(names, ", ")
	}
	return said
}

// parts returns who a finding is about and what it says of him.
func (t *finding) parts() (subject, predicate string) {
	who, at := t.who(), t.at()
	in := t.during()
	switch t.Type {
	case "vertical_scan":
		return who, fmt.Sprintf("scanned %s%s%s%s", t.portsOf(at), in, t.technique(), withTool(t.Tool)) + t.open()
	case "horizontal_scan":
		if len(t.Ports) == 1 {
			return who, fmt.Sprintf("tried port %s on %s%s%s%s", portName(t.Ports[0]), at, in, t.technique(), withTool(t.Tool))
		}
		return who, fmt.Sprintf("tried %s on %s%s%s%s", t.portCount(), at, in, t.technique(), withTool(t.Tool))
	case "slow_scan":
		return who, fmt.Sprintf("tried %s without an answer, slowly: %s%s%s", t.targetsOf(at), quantity(t.Value, cmp.Or(t.Unit, "targets")), in, withTool(t.Tool))
	case "portscan", "winscan", "spam":
		return who, fmt.Sprintf("%s: %s of %s%s", t.sensorText(), quantity(cmp.Or(t.Value, float64(t.Count)), cmp.Or(t.Unit, "flows")), t.targetsOf(at), in)
	case "host_discovery":
		return who, fmt.Sprintf("looked for hosts with %s: %s tried%s%s", cmp.Or(discovery[t.Scan], "probes"), at, in, withTool(t.Tool))
	case "syn_flood", "udp_flood", "icmp_flood", "tcp_flood", "http_flood":
		return t.floodOf(at)
	case "amplification":
		return at, fmt.Sprintf("gets answers that it did not ask for from %s%s%s, probably asked for in its name", t.servers(), t.much(), t.usually())
	case "reflector":
		return at, fmt.Sprintf("is asked by forged addresses and answers %s with many times the bytes%s", who, t.much())
	case "brute_force":
		return who, t.guesses(at, in)
	case "exfiltration", "transfer":
		return t.transferred(who, at)
	case "dns_tunnel":
		return who, fmt.Sprintf("asked %s random names below %s%s%s, as a tunnel through DNS does", number(t.Value), cmp.Or(t.text("domain"), "one domain"), in, t.outBytes())
	case "dga":
		return who, fmt.Sprintf("asked %s random names of no common domain%s, most of which do not exist, as programs do that compute the name of their master", number(t.Value), in)
	case "beacon":
		return who, t.beacons(at)
	case "new_peer":
		return who, fmt.Sprintf("used %s of %s for the first time", t.service(), at)
	case "arp_spoof":
		return who, "claims the address " + at + t.was()
	case "rogue_dhcp":
		return who, fmt.Sprintf("offers addresses as a DHCP server that is not known here%s", t.offers())
	case "tcp_injection":
		return who, fmt.Sprintf("slipped data into a connection of %s%s", at, t.kindOf())
	case "capture_loss":
		return cmp.Or(t.Observer, t.Party, who), fmt.Sprintf("lost %s of what was sent%s: vft is partly blind", share(t.Value), in)
	case "icmp_tunnel":
		return who, fmt.Sprintf("carries data in pings with %s%s, as a tunnel does", at, t.much())
	case "slow_http":
		return who, fmt.Sprintf("holds %s of %s open by sending very slowly%s", quantity(t.Value, "connections"), at, in)
	case "web_scan":
		return who, fmt.Sprintf("asked %s for %s paths that do not exist%s%s", at, number(t.Value), in, withTool(t.Tool))
	case "dhcp_starvation":
		return who, fmt.Sprintf("asked for addresses as %s different machines%s: the pool will run dry", number(t.Value), in)
	case "rogue_ra":
		return who, "announces itself as an IPv6 router that is not known here"
	case "mac_flood":
		return cmp.Or(t.Observer, "the network"), fmt.Sprintf("shows %s new hardware addresses%s, as a flood against a switch does", number(t.Value), in)
	case "name_poisoning":
		return who, fmt.Sprintf("answers for any name that hosts ask the network for (%s names%s)", number(t.Value), in)
	case "dns_spoof":
		return at, fmt.Sprintf("got two answers that differ to one DNS question%s: one is forged", t.about())
	case "icmp_redirect":
		return who, fmt.Sprintf("tells %s to send through it, though it is no gateway", at)
	case "long_connection":
		return who, fmt.Sprintf("has held a connection to %s for %s, as nobody else here does", at, spanText(time.Duration(t.Value*float64(time.Second))))
	case "outage":
		return who, fmt.Sprintf("reaches nothing: %s failed%s; the way is probably broken", quantity(t.Value, cmp.Or(t.Unit, "contacts")), in)
	case "background":
		return "the internet", fmt.Sprintf("probed %s: %s%s, as it does every public address", at, quantity(t.Value, cmp.Or(t.Unit, "sources")), in)
	case "sensor-lost":
		return "client " + cmp.Or(t.Party, t.Client), "is lost: " + cmp.Or(t.text("why"), "it is silent") + t.flapping()
	case "blind":
		return cmp.Or(t.Party, "vft"), "is partly blind: " + cmp.Or(t.text("why"), quantity(t.Value, cmp.Or(t.Unit, "losses")))
	case statistic:
		return t.unusual()
	case "same-port", "port-campaign":
		return "trap " + portText(t.Party), fmt.Sprintf("was touched %s by %s on %s%s", times(t.Count), t.sourcesText(), t.clientsText(), in)
	case "same-client", "victim":
		return t.Party, fmt.Sprintf("had traps touched %s by %s%s", times(t.Count), t.sourcesText(), in)
	}
	if trapRules[t.Type] {
		return who, fmt.Sprintf("touched %s of %s%s", t.portCount(), t.clientsText(), in)
	}
	return who, fmt.Sprintf("set off %s against %s: %s%s", t.Type, at, quantity(cmp.Or(t.Value, float64(t.Count)), cmp.Or(t.Unit, "times")), in)
}

// who names the offender.
func (t *finding) who() string {
	switch {
	case t.Many:
		return "many addresses"
	case t.Offender.IsValid():
		return t.Offender.String()
	case t.Name != "":
		return t.Name
	case t.Party != "":
		return t.Party
	}
	return "somebody"
}

// at names the victims.
func (t *finding) at() string {
	switch n := t.NHosts; {
	case n == 0 && t.Dst.IsValid():
		return t.Dst.Addr().String()
	case n == 0:
		return "the network"
	case n == 1:
		return t.Hosts[0].String()
	default:
		return atLeast(n, maxDistinct) + " hosts" + inNetwork(t.Hosts)
	}
}

// inNetwork says in which /24 or /64 all hosts are, if they are.
func inNetwork(hosts []netip.Addr) string {
	bits := 24
	if hosts[0].Is6() {
		bits = 64
	}
	n, err := hosts[0].Prefix(bits)
	if err != nil || slices.ContainsFunc(hosts, func(a netip.Addr) bool { return !n.Contains(a) }) {
		return ""
	}
	return " of " + n.String()
}

// during is the time that it took so far, or the window in which it was measured.
func (t *finding) during() string {
	switch span := t.Time.Sub(t.Begun); {
	case span >= 10*time.Millisecond:
		return " in " + spanText(span)
	case t.Window > 0:
		return " within " + spanText(t.Window)
	}
	return ""
}

func (t *finding) portCount() string {
	switch t.NPorts {
	case 0:
		return "ports"
	case 1:
		return "port " + portName(t.Ports[0])
	}
	return atLeast(t.NPorts, maxDistinct) + " ports"
}

func (t *finding) portsOf(at string) string { return t.portCount() + " of " + at }

func (t *finding) targetsOf(at string) string {
	if t.NPorts == 1 {
		return "port " + portName(t.Ports[0]) + " of " + at
	}
	return at
}

var techniques = map[string]string{
	"syn": "SYN packets", "connect": "full connections", "fin": "FIN packets", "null": "packets without flags", "xmas": "FIN, PSH and URG packets",
	"ack": "ACK packets", "window": "ACK packets", "maimon": "FIN and ACK packets", "udp": "UDP packets", "sctp_init": "SCTP INIT packets", "ip_protocol": "packets of many IP protocols",
}

var discovery = map[string]string{"ping": "pings", "arp": "ARP requests", "ndp": "neighbour solicitations"}

func (t *finding) technique() string {
	if t.Scan == "" {
		return ""
	}
	return " with " + cmp.Or(techniques[t.Scan], t.Scan+" probes")
}

// open names the ports that answered.
func (t *finding) open() string {
	n, ok := t.number("open")
	if !ok || n == 0 {
		return ""
	}
	return fmt.Sprintf("; %s answered", number(n))
}

func (t *finding) sensorText() string {
	switch t.Type {
	case "portscan":
		return "sent many small probes"
	case "winscan":
		return "probed for Windows services"
	}
	return "sent much mail"
}

var floods = map[string]string{"syn_flood": "SYN packets", "udp_flood": "UDP packets", "icmp_flood": "ICMP packets", "tcp_flood": "TCP packets that belong to no connection", "http_flood": "HTTP requests"}

// floodOf puts the victim first where the sources are many.
func (t *finding) floodOf(at string) (subject, predicate string) {
	what := fmt.Sprintf("%s %s/s", number(t.Value), floods[t.Type])
	if len(t.Ports) == 1 {
		at += " port " + portName(t.Ports[0])
	}
	if t.Many {
		from := "many addresses"
		if n, ok := t.number("sources"); ok && n > 1 {
			from = "about " + number(n) + " addresses"
		}
		return at, fmt.Sprintf("gets %s from %s%s, probably forged", what, from, t.usually())
	}
	return t.who(), fmt.Sprintf("floods %s with %s%s", at, what, t.usually())
}

func (t *finding) usually() string {
	if t.Usual == nil {
		return ""
	}
	switch t.Unit {
	case "bytes":
		return " (usual: " + bytesText(*t.Usual) + ")"
	case "share":
		return " (usual: up to " + share(*t.Usual) + ")"
	}
	return " (usual: up to " + number(*t.Usual) + ")"
}

func (t *finding) much() string {
	if t.Value <= 1 {
		return ""
	}
	return ", " + quantity(t.Value, cmp.Or(t.Unit, "packets"))
}

func (t *finding) servers() string {
	if n, ok := t.number("reflectors"); ok && n > 1 {
		return number(n) + " servers"
	}
	if len(t.Ports) == 1 {
		return "servers on port " + portName(t.Ports[0])
	}
	return "servers"
}

// guesses tells of failed logins, and whether one succeeded.
func (t *finding) guesses(at, in string) string {
	n := t.Value
	if f, ok := t.number("failures"); ok {
		n = max(n, f)
	}
	said := fmt.Sprintf("guessed %s %s passwords at %s%s%s", number(n), t.service(), at, in, withTool(t.Tool))
	if sources, ok := t.number("sources"); ok && sources > 1 {
		said += " from " + number(sources) + " addresses"
	}
	if success := t.text("success"); success != "" {
		if at, err := time.Parse(time.RFC3339Nano, success); err == nil {
			success = at.UTC().Format("15:04:05")
		}
		said += "; one succeeded at " + success
	}
	return said
}

// service names what was used: SSH, SMB, port 9001.
func (t *finding) service() string {
	if s := t.text("service"); s != "" {
		return strings.ToUpper(s)
	}
	if len(t.Ports) > 0 {
		if s := serviceName(t.Ports[0]); s != "" {
			return strings.ToUpper(s)
		}
		return fmt.Sprintf("port %d", t.Ports[0])
	}
	return "a service"
}

// transferred tells how much went where, by which process.
func (t *finding) transferred(who, at string) (subject, predicate string) {
	if t.Src.IsValid() {
		who = t.Src.Addr().String()
	}
	if t.Dst.IsValid() {
		at = t.Dst.Addr().String()
	} else if d := t.text("destination"); d != "" {
		at = d
	}
	first := ""
	if t.text("first_seen") != "" {
		first = " (first seen " + t.text("first_seen") + ")"
	}
	said := fmt.Sprintf("sent %s to %s%s in %s", bytesText(t.Value), at, first, spanText(max(t.Window, t.Time.Sub(t.Begun))))
	if p := t.Process; p != nil {
		said += fmt.Sprintf(" by process %s (pid %d", p.Name, p.PID)
		if p.User != "" {
			said += ", user " + p.User
		}
		said += ")"
	}
	return who, said + t.usually()
}

func (t *finding) outBytes() string {
	if n, ok := t.number("bytes_out"); ok && n > 0 {
		return ", about " + bytesText(n) + " out"
	}
	return ""
}

func (t *finding) beacons(at string) string {
	if len(t.Ports) == 1 {
		at += " port " + portName(t.Ports[0])
	}
	said := "calls " + at
	if period, ok := t.number("period_s"); ok && period > 0 {
		said += " every " + spanText(time.Duration(period*float64(time.Second)))
	} else {
		said += " with the regularity of a program"
	}
	if n, ok := t.number("connections"); ok {
		said += ", " + times(uint64(n))
	}
	if n, ok := t.number("hosts_that_do"); ok && n == 1 {
		said += "; only this host does"
	}
	return said
}

func (t *finding) was() string {
	if owner := cmp.Or(t.text("owner"), t.text("mac_before"), t.text("was")); owner != "" {
		return ", which belongs to " + owner
	}
	return ""
}

func (t *finding) offers() string {
	if router := t.text("router"); router != "" {
		return ", with the router " + router
	}
	return ""
}

func (t *finding) kindOf() string {
	if kind := cmp.Or(t.text("kind"), t.text("attack")); kind != "" {
		return " (" + strings.ReplaceAll(kind, "_", " ") + ")"
	}
	return ""
}

func (t *finding) about() string {
	if name := cmp.Or(t.text("name"), t.text("query")); name != "" {
		return " for " + name
	}
	return ""
}

func (t *finding) flapping() string {
	if t.Spells == 0 {
		return ""
	}
	return fmt.Sprintf("; it came and went %s", times(uint64(t.Spells)))
}

// unusual tells of a statistic.
func (t *finding) unusual() (subject, predicate string) {
	a := t.Anomaly
	if a == nil {
		return t.Key, "is unusual"
	}
	value, limit := number(a.Value), number(a.Threshold)
	if t.Unit == "share" {
		value, limit = share(a.Value), share(a.Threshold)
	} else if t.Unit != "" {
		value += " " + t.Unit
	}
	host := cmp.Or(t.Client, t.Observer)
	if host != "" {
		host = " on " + host
	}
	side := "up to"
	if a.Side == "down" {
		side = "at least"
	}
	usual := limit
	if t.Usual != nil {
		usual = number(*t.Usual)
		if t.Unit == "share" {
			usual = share(*t.Usual)
		}
	}
	return cmp.Or(a.Statistic, t.Key), fmt.Sprintf("is unusual%s since %s: %s (usual: %s %s)", host, t.Begun.UTC().Format("15:04"), value, side, usual)
}

func (t *finding) sourcesText() string {
	if n, ok := t.number("sources"); ok && n > 0 {
		return counted(n, "source")
	}
	return "several sources"
}

func (t *finding) clientsText() string {
	if n, ok := t.number("clients"); ok && n > 0 {
		return counted(n, "client")
	}
	if t.Client != "" {
		return t.Client
	}
	return "the fleet"
}

// text returns a detail that is a text.
func (t *finding) text(name string) string {
	for _, d := range t.Details {
		if s, ok := d.Value.(string); ok && d.Name == name {
			return s
		}
	}
	return ""
}

// number returns a detail that is a number.
func (t *finding) number(name string) (float64, bool) {
	for _, d := range t.Details {
		if n, ok := d.Value.(float64); ok && d.Name == name {
			return n, true
		}
	}
	return 0, false
}

func withTool(tool string) string {
	if tool == "" {
		return ""
	}
	return ", tool " + tool
}
