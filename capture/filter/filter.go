// Package filter compiles pcap filter expressions ("tcp port 80 and not host
// 10.0.0.1") to classic BPF programs, without libpcap, and runs them over
// captured packets.
//
// The language is the documented subset of pcap-filter(7) in docs/filter.md. An
// accepted expression means what tcpdump makes of it, on every packet, also on
// those that are cut short: the same tests in the same order after the same
// simplifications. Everything else is refused with the column.
//
// A program is for one link type. [Filter.Match] runs it over a packet of a
// file; [Filter.Live] is the variant for a packet socket of Linux.
package filter

import (
	"fmt"

	"golang.org/x/net/bpf"
)

// LinkType is the link-layer header type as capture files number it
// (https://www.tcpdump.org/linktypes.html).
type LinkType uint32

// The link types that a filter can be compiled for.
const (
	LinkNull     LinkType = 0   // BSD loopback, address family in the byte order of the writer
	LinkEthernet LinkType = 1   //
	LinkPPP      LinkType = 9   //
	LinkRaw12    LinkType = 12  // raw IP, as some systems number it
	LinkRaw14    LinkType = 14  // raw IP, as OpenBSD numbers it
	LinkPPPHDLC  LinkType = 50  // PPP in HDLC-like framing
	LinkRaw      LinkType = 101 // raw IPv4 or IPv6
	LinkCHDLC    LinkType = 104 // Cisco HDLC
	LinkLoop     LinkType = 108 // OpenBSD loopback, address family in network byte order
	LinkSLL      LinkType = 113 // Linux "cooked" capture v1
	LinkIPv4     LinkType = 228 // raw IPv4
	LinkIPv6     LinkType = 229 // raw IPv6
	LinkSLL2     LinkType = 276 // Linux "cooked" capture v2
)

// MaxSnapLen is the snapshot length that 0 stands for.
const MaxSnapLen = 262144

// Options say what the packets of a program look like. The zero value is not
// Ethernet but LinkNull: set Link.
type Options struct {
	Link    LinkType
	SnapLen int // bytes of a packet that a live program passes on; 0 is MaxSnapLen
	// BigEndian says that a LinkNull file was written on a big-endian machine,
	// which is when its file header is big-endian.
	BigEndian bool
}

// Filter is a compiled expression. It does not change: any number of goroutines
// may use one.
type Filter struct {
	text    string
	options Options
	raw     []bpf.RawInstruction
	ops     []op
}

// Error is an expression that was refused.
type Error struct {
	Text   string // the whole expression
	Column int    // where, counted in bytes from 1
	Reason string // why, and what is possible there
	// Never says that the expression is sound, but no packet of this link type
	// can match it ("ip and arp", or "arp" on raw IP).
	Never bool
}

// Error is one line: the expression, the column and the reason.
func (e *Error) Error() string {
	return fmt.Sprintf("filter %q: column %d: %s", e.Text, e.Column, e.Reason)
}

// Compile translates an expression for packets of a link type. The empty
// expression matches every packet, of any link type. A snaplen of 0 is
// MaxSnapLen. The error is an *[Error].
func Compile(text string, link LinkType, snaplen int) (*Filter, error) {
	return Options{Link: link, SnapLen: snaplen}.Compile(text)
}

// Compile translates an expression; see the function of that name.
func (o Options) Compile(text string) (*Filter, error) {
	raw, err := o.program(text, true)
	if err != nil {
		return nil, err
	}
	return &Filter{text: text, options: o, raw: raw, ops: decode(raw)}, nil
}

// String is the expression.
func (f *Filter) String() string { return f.text }

// Link is the link type that the filter was compiled for.
func (f *Filter) Link() LinkType { return f.options.Link }

// Match reports whether a packet passes. pkt is what was captured of it,
// beginning with the link-layer header; origLen is its length on the wire, which
// is what "len" means. A packet that ends before a byte that is looked at does
// not pass, also under "not". Match allocates nothing.
func (f *Filter) Match(pkt []byte, origLen int) bool { return run(f.ops, pkt, uint32(origLen)) }

// Raw is the program for packets that begin with the link-layer header as they
// do in a file. It returns the snapshot length for a packet that passes and 0
// otherwise.
func (f *Filter) Raw() []bpf.RawInstruction {
	return append([]bpf.RawInstruction(nil), f.raw...)
}

// program is the whole journey: text, tree, graph of blocks, instructions.
func (o Options) program(text string, simplified bool) ([]bpf.RawInstruction, error) {
	root, failure := o.graph(text, simplified)
	if failure != nil {
		return nil, failure
	}
	raw := emit(root)
	if root.isReturn() && root.k == 0 {
		return nil, &Error{Text: text, Column: 1, Never: true, Reason: "no packet of this link type can match"}
	}
	if len(raw) > maxInstructions {
		return nil, &Error{Text: text, Column: 1,
			Reason: fmt.Sprintf("needs %d instructions, and a kernel takes %d; use nets and port ranges in place of long lists", len(raw), maxInstructions)}
	}
	return raw, nil
}

// graph is the root of the tests of an expression. Only tests leave it as it was
// generated.
func (o Options) graph(text string, simplified bool) (*block, *Error) {
	tree, failure := parse(text)
	if failure != nil {
		return nil, failure
	}
	if tree == nil {
		return &block{stmt: stmt{ret, o.snaplen()}}, nil
	}
	root, failure := generate(text, tree, o)
	if failure != nil || !simplified {
		return root, failure
	}
	return optimise(root), nil
}

func (o Options) snaplen() uint32 {
	if o.SnapLen <= 0 {
		return MaxSnapLen
	}
	return uint32(o.SnapLen)
}

// maxInstructions is BPF_MAXINSNS of Linux.
const maxInstructions = 4096
