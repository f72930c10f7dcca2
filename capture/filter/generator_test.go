package filter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// writer makes random expressions by the grammar of docs/filter.md. What it
// writes may be refused (a vlan on raw IP), but mostly is not.
type writer struct{ *rand.Rand }

func (w writer) pick(options ...string) string { return options[w.IntN(len(options))] }

func (w writer) expression(depth int) string {
	parts := []string{w.operand(depth)}
	for range w.IntN(4) {
		parts = append(parts, w.pick("and", "or", "and", "or", "&&", "||"), w.operand(depth))
	}
	return strings.Join(parts, " ")
}

// disturb takes a word out of an expression, puts one in or exchanges two.
func (w writer) disturb(expression string) string {
	words := strings.Fields(strings.NewReplacer("(", "( ", ")", " )", "[", " [ ", "]", " ] ", ":", " : ").Replace(expression))
	i, j := w.IntN(len(words)), w.IntN(len(words))
	switch w.IntN(3) {
	case 0:
		words = slices.Delete(words, i, i+1)
	case 1:
		words[i], words[j] = words[j], words[i]
	case 2:
		words = slices.Insert(words, i, w.pick("(", ")", "not", "and", "or", "src", "dst", "80", "10.0.0.1", "=", "-", "&", "%",
			"[", "]", "len", "tcp", "ip", "vlan", "host", "port", "net", "::1", "proto", `\tcp`, "mask", "/", "8"))
	}
	return strings.Join(words, " ")
}

func (w writer) operand(depth int) string {
	switch n := w.IntN(20); {
	case n < 3:
		return w.pick("not ", "! ", "not not ") + w.operand(depth)
	case n < 7 && depth > 0:
		return "(" + w.expression(depth-1) + ")"
	case n < 9:
		return w.relation()
	case n < 10:
		return w.shift()
	}
	return w.term()
}

func (w writer) shift() string {
	return w.pick("vlan", "vlan 7", "vlan 100", "mpls", "mpls 29", "pppoes", "pppoes 1", "pppoed")
}

func (w writer) term() string {
	switch w.IntN(12) {
	case 0, 1:
		return w.protoWord()
	case 2:
		return w.pick("less ", "greater ") + fmt.Sprint(w.IntN(1600))
	case 3:
		return w.pick("multicast", "broadcast", "ether multicast", "ip multicast", "ip6 multicast", "ether broadcast")
	case 4:
		return w.pick("ip proto ", "ip6 proto ", "proto ") + w.pick("6", "17", "1", "58", `\tcp`, `\udp`, "(6 or 17)")
	case 5:
		return "ether proto " + w.pick("0x800", "0x86dd", "0x806", "0x88cc", `\ip`, `\arp`, "0x42", "1500", "0x8100")
	case 6:
		return w.pick("ether host ", "ether src ", "ether dst ") + w.pick("00:0c:29:01:02:03", "ff-ff-ff-ff-ff-ff", "0001.0203.0405")
	case 7, 8:
		return w.direction() + w.pick("host ", "host ", "") + w.address()
	case 9:
		return w.pick("", "ip ", "arp ", "") + w.direction() + "net " + w.network()
	case 10:
		return w.pick("", "tcp ", "udp ", "sctp ") + w.direction() + "portrange " + fmt.Sprintf("%d-%d", w.port(), w.port())
	}
	text := w.pick("", "tcp ", "udp ", "") + w.direction() + "port " + fmt.Sprint(w.port())
	for range w.IntN(3) {
		text += w.pick(" or ", " and ", " or not ") + fmt.Sprint(w.port())
	}
	return text
}

func (w writer) protoWord() string {
	return w.pick("ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "igrp", "pim", "vrrp", "carp",
		"ah", "esp", "stp", "tcp", "udp", "ip")
}

// direction ends in a space or, for addresses, makes "host" needed.
func (w writer) direction() string {
	return w.pick("src ", "dst ", "src or dst ", "src and dst ", "dst or src ")
}

func (w writer) port() int {
	return []int{80, 443, 53, 22, 25, 123, 5060, 8080, 1024, w.IntN(65536)}[w.IntN(10)]
}

func (w writer) address() string {
	return w.pick("10.0.0.1", "192.168.1.1", "127.0.0.1", "192.168.0.2", "8.8.8.8", "::1", "fe80::1", "2001:db8::1:2",
		"10.1", "255.255.255.255", "224.0.0.251", "ff02::fb", "::ffff:10.0.0.1")
}

func (w writer) network() string {
	return w.pick("10.0.0.0/8", "192.168.0.0/16", "192.168.1", "10", "172.16.0.0 mask 255.240.0.0", "0.0.0.0/0", "127.0.0.0/8",
		"8.8.8.8/32", "224.0.0.0/4", "10.128.0.0/9")
}

func (w writer) relation() string {
	return w.value(2) + w.pick(" = ", " != ", " > ", " < ", " >= ", " <= ", "==") + w.value(1)
}

func (w writer) value(depth int) string {
	if depth == 0 || w.IntN(3) == 0 {
		return w.pick(fmt.Sprint(w.IntN(70)), "0", fmt.Sprintf("%#x", w.IntN(0x10000)), "tcp-syn", "icmp-echo", "6")
	}
	switch w.IntN(8) {
	case 0:
		return w.pick("len", "length", "(len)", "4 + len", "- 3")
	case 1:
		return "(" + w.value(depth-1) + ")"
	case 2:
		return w.value(depth-1) + w.pick(" + ", " - ", " * ", " & ", " | ", " ^ ", "+", "&", " << 2 + ", " >> ", " / 3 + ") + w.pick(
			fmt.Sprint(1+w.IntN(15)), w.bytes("1"), w.bytes("0"))
	case 3:
		return w.bytes(w.value(depth - 1))
	}
	return w.bytes(fmt.Sprint(w.IntN(30)))
}

func (w writer) bytes(index string) string {
	return w.pick("ether", "ip", "ip6", "tcp", "udp", "icmp", "icmp6", "arp", "ip", "tcp", "sctp") + "[" + index +
		w.pick("", "", ":1", ":2", ":4") + "]"
}
