package sensor

import (
	"math/bits"

	"github.com/goccy/go-yaml/ast"

	"vft/capture/packet"
	"vft/yamlfile"
)

// keyWords say what has a window of its own. The observer is always part of it:
// one flow that two exporters saw would otherwise count twice, and an exporter
// whose clock is wrong would spoil the windows of the others.
type keyWords uint8

const (
	keySource keyWords = 1 << iota
	keyDestination
	keyService // destination, protocol and destination port

	keyObserver keyWords = 0
)

// key reads a word or a list of words.
func (r *reader) key(node ast.Node, where string) (k keyWords, err error) {
	items := yamlfile.Items(node)
	for _, item := range items {
		text, place, err := r.scalar(item, where)
		if err != nil {
			return 0, err
		}
		switch text {
		case "observer":
			k |= keyObserver
		case "source":
			k |= keySource
		case "destination":
			k |= keyDestination
		case "service":
			k |= keyService
		default:
			return 0, failure(place, "%q is no key; there are observer, source, destination and service, and lists of them as [source, destination]", text)
		}
	}
	if len(items) == 0 {
		return 0, failure(where, "key needs a word: observer, source, destination, service, or a list of them")
	}
	return k, nil
}

// hasher turns keys into numbers that only the holder of the seed can make
// collide: a product of two numbers that are mixed with secrets, folded.
type hasher struct{ a, b, c uint64 }

func newHasher(seed [32]byte) hasher {
	var w [3]uint64
	for i := range 24 {
		w[i/8] = w[i/8]<<8 | uint64(seed[i])
	}
	return hasher{w[0] ^ 0x9e3779b97f4a7c15, w[1] ^ 0xd6e8feb86659fd93, w[2] ^ 0xa0761d6478bd642f}
}

func fold(x, y uint64) uint64 {
	high, low := bits.Mul64(x, y)
	return high ^ low
}

func (h *hasher) add(k uint64, a packet.Addr) uint64 { return fold(k^a.Lo^h.b, a.Hi^h.c) }

// of returns the key of a flow, which is never 0.
func (h *hasher) of(r record, words keyWords) uint64 {
	k := h.add(h.a, r.Export.Exporter)
	if words&keySource != 0 {
		k = h.add(k^1, r.Src)
	}
	if words&(keyDestination|keyService) != 0 {
		k = h.add(k^2, r.Dst)
	}
	if words&keyService != 0 {
		k = fold(k^uint64(r.DstPort)<<8^uint64(r.Proto), h.c)
	}
	return fold(k, h.b) | 1
}

// short returns 32 bits that stand for an address: IPv4 as it is.
func (h *hasher) short(a packet.Addr) uint32 {
	if a.Is4() {
		return a.V4()
	}
	return uint32(h.add(h.a, a) >> 32)
}
