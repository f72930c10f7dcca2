package traps

import (
	"math/rand/v2"
	"slices"
)

// Pool returns the 40 ports that traps are chosen from: services that scanners
// look for, without those that ordinary networks touch by themselves (DNS,
// NTP, SNMP, printers, discovery). The slice is the caller's.
func Pool() []uint16 {
	return []uint16{
		21, 22, 23, 25, 80, 110, 111, 135, 139, 143, 443, 445, 554, 873,
		1080, 1433, 1521, 1723, 1883, 2049, 2222, 2323, 2375, 3306, 3389,
		5000, 5060, 5432, 5555, 5900, 5985, 6379,
		8000, 8080, 8081, 8443, 8888, 9200, 11211, 27017,
	}
}

// weight is how likely a port is chosen beside the others. Windows hosts probe
// 139 and 445 of their neighbours without being asked.
func weight(port uint16) float64 {
	if port == 139 || port == 445 {
		return 0.1
	}
	return 1
}

// Choose returns at most n different ports of pool in ascending order, at
// random by weight, none of which skip reports. It returns fewer when pool has
// no more.
func Choose(pool []uint16, n int, skip func(port uint16) bool, random *rand.Rand) []uint16 {
	// Weighted sampling without replacement: the n smallest of exponential
	// variates with rate weight (Efraimidis and Spirakis, 2006).
	type draw struct {
		port uint16
		key  float64
	}
	var draws []draw
	for _, port := range slices.Compact(slices.Sorted(slices.Values(pool))) {
		key := random.ExpFloat64() / weight(port)
		if port != 0 && !skip(port) {
			draws = append(draws, draw{port, key})
		}
	}
	slices.SortFunc(draws, func(a, b draw) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	ports := make([]uint16, 0, max(0, min(n, len(draws))))
	for _, d := range draws[:cap(ports)] {
		ports = append(ports, d.port)
	}
	slices.Sort(ports)
	return ports
}
