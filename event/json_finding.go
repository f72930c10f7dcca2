package event

import (
	"math"
	"net/netip"
	"slices"
)

// MaxParties is how many addresses or ports a list of a Finding has at most.
const MaxParties = 64

// maxClients is how many other clients a Finding names at most.
const maxClients = 8

func (f *Finding) bound() {
	f.Type, f.Sensor, f.Key, f.Name = boundName(f.Type), boundName(f.Sensor), boundName(f.Key), boundName(f.Name)
	f.Client, f.Observer, f.Transport = boundName(f.Client), boundName(f.Observer), boundName(f.Transport)
	f.Unit, f.Scan, f.Tool = boundName(f.Unit), boundName(f.Scan), boundName(f.Tool)
	f.By, f.Party, f.Title, f.Technique = AlertKind(boundName(string(f.By))), boundName(f.Party), boundName(f.Title), boundName(f.Technique)
	f.Description = boundText(f.Description, MaxText)
	f.Clients = slices.Clone(f.Clients[:min(len(f.Clients), maxClients)])
	for i := range f.Clients {
		f.Clients[i] = boundName(f.Clients[i])
	}
	f.Time, f.Since = writableTime(f.Time), writableTime(f.Since)
	f.Offender, f.Sources, f.Victims = boundAddr(f.Offender), boundAddrs(f.Sources), boundAddrs(f.Victims)
	f.Ports = boundList(f.Ports)
	f.Src, f.Dst = boundAddrPort(f.Src), boundAddrPort(f.Dst)
	f.Value, f.Threshold, f.Usual = finite(f.Value), finite(f.Threshold), boundNumber(f.Usual)
	f.Hosts, f.Distinct = max(0, min(f.Hosts, math.MaxUint16)), max(0, min(f.Distinct, math.MaxUint16))
	f.Severity, f.Evidence = max(0, min(f.Severity, 100)), min(f.Evidence, E3)
	b := budget(detailBudget)
	f.Details = b.details(f.Details)
	if f.Anomaly != nil {
		a := *f.Anomaly
		a.bound()
		f.Anomaly = &a
	}
	if f.Process != nil {
		p := *f.Process
		p.bound()
		f.Process = &p
	}
}

func (p *Process) bound() {
	p.PID = max(0, min(p.PID, math.MaxInt32))
	p.Name, p.CommandLine = boundName(p.Name), boundText(p.CommandLine, MaxText)
	p.User, p.Container = boundName(p.User), boundName(p.Container)
}

// boundAddr is a without its zone, which means nothing on another host.
func boundAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func boundAddrPort(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(boundAddr(a.Addr()), a.Port())
}

func boundList[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(list[:min(len(list), MaxParties)])
}

func boundAddrs(list []netip.Addr) (good []netip.Addr) {
	for _, a := range list {
		if a.IsValid() && len(good) < MaxParties {
			good = append(good, boundAddr(a))
		}
	}
	return good
}

// details returns what fits of a list of details, MaxKeys of them at most.
func (b *budget) details(list []Detail) (good []Detail) {
	for _, d := range list[:min(len(list), MaxKeys)] {
		d.Name = boundName(d.Name)
		if !b.spend(itemCost + len(d.Name)) {
			break
		}
		var fits bool
		if d.Value, fits = b.value(d.Value, MaxNested); fits {
			good = append(good, d)
		}
	}
	return good
}
