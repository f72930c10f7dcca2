package event

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may nest in what a Reader reads.
const MaxDepth = 16

// Reader pulls values out of one JSON text that a stranger sent: in bounded
// depth, without recursion and without a tree. The first error sticks: from
// then on every method returns a zero value and every list is at its end, so a
// caller looks at Err once, at the end. One goroutine uses it; Reset makes it
// ready for the next text.
//
//	r.Reset(text)
//	r.Object()
//	for key, ok := r.Key(); ok; key, ok = r.Key() {
//		switch string(key) {
//		case "seq":
//			seq = r.Uint(math.MaxUint64)
//		default:
//			r.Skip()
//		}
//	}
//	err := r.End()
type Reader struct {
	data  []byte
	at    int  // of the next byte
	depth int  // open objects and arrays
	first bool // the object or array was just opened: no comma before its next item
	err   error
	seed  maphash.Seed
	names [nameSlots]string // strings that come again and again, by hash
}

// Names are kept when they are short, in pairs of slots; a third of a pair puts
// the older one out, so a sender of ever new names costs what no table at all
// would cost.
const (
	nameSlots = 1024
	nameKept  = 64 // bytes
)

var (
	errDepth = fmt.Errorf("more than %d levels deep", MaxDepth)
	errEnd   = errors.New("unexpected end")
	errLong  = errors.New("a value is too long")
	errRange = errors.New("a number is out of range")
)

// NewReader returns a Reader with nothing to read.
func NewReader() *Reader { return &Reader{seed: maphash.MakeSeed()} }

// Reset makes r read data, which the caller keeps unchanged meanwhile.
func (r *Reader) Reset(data []byte) {
	r.data, r.at, r.depth, r.first, r.err = data, 0, 0, false, nil
}

// Err returns the first error, with the byte where it was seen.
func (r *Reader) Err() error { return r.err }

// Fail makes err the error of r, unless it has one. Nothing is left to read
// after it, so only the ways to the end of the data look for an error.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d: %w", r.at, err)
	}
	r.at = len(r.data)
}

// End returns the first error; that something follows the value is one.
func (r *Reader) End() error {
	if r.peek(); r.at < len(r.data) {
		r.Fail(errors.New("something follows the value"))
	}
	return r.err
}

// peek skips white space and returns the byte that comes next, 0 at the end.
func (r *Reader) peek() byte {
	if r.at < len(r.data) && r.data[r.at] > ' ' {
		return r.data[r.at]
	}
	return r.peekPastSpace()
}

func (r *Reader) peekPastSpace() byte {
	for ; r.at < len(r.data); r.at++ {
		if c := r.data[r.at]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
	}
	return 0
}

// next consumes c if it is the very next byte.
func (r *Reader) next(c byte) bool {
	if r.at < len(r.data) && r.data[r.at] == c {
		r.at++
		return true
	}
	return false
}

// take consumes c, which must come next, white space aside.
func (r *Reader) take(c byte) bool {
	if got := r.peek(); got != c {
		r.unexpected(got)
		return false
	}
	r.at++
	return true
}

func (r *Reader) unexpected(c byte) {
	if c == 0 && r.at >= len(r.data) {
		r.Fail(errEnd)
		return
	}
	r.Fail(fmt.Errorf("unexpected %q", c))
}

func (r *Reader) open(c byte) {
	if !r.take(c) {
		return
	}
	if r.depth++; r.depth > MaxDepth {
		r.Fail(errDepth)
	}
	r.first = true
}

// Object enters an object; Key then leads through it.
func (r *Reader) Object() { r.open('{') }

// Array enters an array; More then leads through it.
func (r *Reader) Array() { r.open('[') }

// More reports whether the array has another element, which comes next.
func (r *Reader) More() bool { return r.item(']') }

// item reports whether another item follows before the closing byte c, which
// it consumes with the comma that separates items.
func (r *Reader) item(c byte) bool {
	next := r.peek()
	switch {
	case next == ',' && !r.first:
		r.at++
		if r.peek() == c {
			r.unexpected(c)
		}
		return r.err == nil
	case next == c:
		r.at++
		r.depth--
		r.first = false
		return false
	case next != 0 && r.first:
		r.first = false
		return true
	}
	r.unexpected(next)
	return false
}

// Key returns the next key of the object, whose value comes next, or false at
// the end of the object. The key is valid until the next call.
func (r *Reader) Key() (key []byte, ok bool) {
	if !r.item('}') {
		return nil, false
	}
	// Nearly every key is plain, with a colon right after it.
	if rest := r.data[r.at:]; len(rest) > 1 && rest[0] == '"' {
		n := 1 + plain(rest[1:])
		if n+1 < len(rest) && rest[n] == '"' && rest[n+1] == ':' && n <= MaxName {
			r.at += n + 2
			return rest[1:n], true
		}
	}
	if c := r.peek(); c != '"' {
		r.unexpected(c)
		return nil, false
	}
	key = r.text(MaxName)
	return key, r.take(':')
}

// Null reports whether the next value is null, which it consumes. Only before
// objects and arrays need a caller ask: null is the zero value of all else.
func (r *Reader) Null() bool { return r.peek() == 'n' && r.literal("null") }

// Bool returns the next value, true or false.
func (r *Reader) Bool() bool {
	switch r.peek() {
	case 't':
		return r.literal("true")
	case 'n':
		r.literal("null")
	default:
		r.literal("false")
	}
	return false
}

func (r *Reader) literal(word string) bool {
	if !bytes.HasPrefix(r.data[r.at:], []byte(word)) {
		r.unexpected(r.peek())
		return false
	}
	r.at += len(word)
	return true
}

// Uint returns the next value, a whole number from 0 to limit.
func (r *Reader) Uint(limit uint64) uint64 {
	text := r.number()
	var n uint64
	for _, c := range text {
		digit := uint64(c - '0')
		if c < '0' || c > '9' || n > (math.MaxUint64-digit)/10 {
			r.Fail(errRange)
			return 0
		}
		n = n*10 + digit
	}
	if n > limit {
		r.Fail(errRange)
		return 0
	}
	return n
}

// small is Uint, quicker for a field of an object with few digits.
func (r *Reader) small(limit uint64) uint64 {
	n, at := uint64(0), r.at
	for ; at < len(r.data) && at < r.at+6 && r.data[at]-'0' <= 9; at++ {
		n = n*10 + uint64(r.data[at]-'0')
	}
	if at == r.at || at == len(r.data) || r.data[r.at] == '0' || r.data[at] != ',' && r.data[at] != '}' || n > limit {
		return r.Uint(limit)
	}
	r.at = at
	return n
}

// Int returns the next value, a whole number of 64 bits.
func (r *Reader) Int() int64 {
	text := r.number()
	if len(text) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		r.Fail(errRange)
		return 0
	}
	return n
}

// Float returns the next value, a number.
func (r *Reader) Float() float64 {
	text := r.number()
	if len(text) == 0 {
		return 0
	}
	x, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		r.Fail(errRange)
		return 0
	}
	return x
}

// number consumes a number as RFC 8259 section 6 writes it and returns its
// text, which is empty for null.
func (r *Reader) number() []byte {
	first := r.peek()
	start := r.at
	if first == '-' {
		r.at++
	}
	whole := r.digits()
	good := whole == 1 || whole > 1 && r.data[r.at-whole] != '0'
	if good && r.next('.') {
		good = r.digits() > 0
	}
	if good && (r.next('e') || r.next('E')) {
		_ = r.next('+') || r.next('-')
		good = r.digits() > 0
	}
	if good {
		return r.data[start:r.at]
	}
	if first != 'n' || !r.literal("null") {
		r.unexpected(r.peek())
	}
	return nil
}

func (r *Reader) digits() (n int) {
	for ; r.at < len(r.data) && r.data[r.at]-'0' <= 9; r.at++ {
		n++
	}
	return n
}

// Name returns the next value, a string of at most MaxName bytes that is
// likely to come again: the same text gives the same string.
func (r *Reader) Name() string {
	text := r.text(MaxName)
	if len(text) == 0 {
		return ""
	}
	if len(text) > nameKept {
		return string(text)
	}
	slot := maphash.Bytes(r.seed, text) % nameSlots
	newer, older := &r.names[slot&^1], &r.names[slot|1]
	if *newer == string(text) {
		return *newer
	}
	if *older != string(text) {
		*newer, *older = string(text), *newer
		return *newer
	}
	return *older
}

// Text returns the next value, a string of at most limit bytes.
func (r *Reader) Text(limit int) string { return string(r.text(limit)) }

// Names returns the next value, an array of at most limit strings.
func (r *Reader) Names(limit int) (list []string) {
	for r.Array(); r.More(); {
		if len(list) == limit {
			r.Fail(errLong)
			return nil
		}
		list = append(list, r.Name())
	}
	return list
}

// Bytes returns the next value, a string that is the base64 (RFC 4648 section
// 4) of at most limit bytes.
func (r *Reader) Bytes(limit int) []byte {
	text := r.text(base64.StdEncoding.EncodedLen(limit))
	if len(text) == 0 {
		return nil
	}
	b, err := base64.StdEncoding.AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(text))), text)
	if err != nil {
		r.Fail(errors.New("a value is not base64"))
		return nil
	}
	return b
}

// Time returns the next value, a time as RFC 3339 writes it, in UTC.
func (r *Reader) Time() time.Time {
	var t time.Time
	text := r.text(MaxName)
	if text == nil {
		return t
	}
	if err := t.UnmarshalText(text); err != nil {
		r.Fail(errors.New("a value is not a time, as 2006-01-02T15:04:05.999Z"))
		return time.Time{}
	}
	return t.UTC()
}

// AddrPort returns the next value, an address and port, never 4-in-6. The
// empty string is the zero AddrPort.
func (r *Reader) AddrPort() netip.AddrPort {
	text := r.text(MaxName)
	if len(text) == 0 {
		return netip.AddrPort{}
	}
	if a, ok := parseAddrPort4(text); ok {
		return a
	}
	a, err := netip.ParseAddrPort(string(text))
	if err != nil {
		r.Fail(errors.New("a value is not an address and port, as 192.0.2.1:80 or [2001:db8::1]:80"))
		return netip.AddrPort{}
	}
	return Unmap(a)
}

// parseAddrPort4 reads the common form, four octets and a port, without the
// copy that netip.ParseAddrPort needs.
func parseAddrPort4(text []byte) (a netip.AddrPort, ok bool) {
	var ip [4]byte
	at := 0
	for i, end := range [4]byte{'.', '.', '.', ':'} {
		n, digits := 0, 0
		for ; at < len(text) && text[at]-'0' <= 9 && digits < 3; at++ {
			n = n*10 + int(text[at]-'0')
			digits++
		}
		if digits == 0 || n > 255 || digits > 1 && text[at-digits] == '0' || at == len(text) || text[at] != end {
			return a, false
		}
		ip[i] = byte(n)
		at++
	}
	port := 0
	for _, c := range text[at:] {
		if c-'0' > 9 || port > math.MaxUint16 {
			return a, false
		}
		port = port*10 + int(c-'0')
	}
	if at == len(text) || port > math.MaxUint16 {
		return a, false
	}
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(port)), true
}

// text consumes a string and returns what it says, at most limit bytes, valid
// until the data changes; nil for null.
func (r *Reader) text(limit int) []byte {
	if !r.next('"') && (r.Null() || !r.take('"')) {
		return nil
	}
	start := r.at
	r.at += plain(r.data[start:])
	if r.next('"') {
		return r.bounded(r.data[start:r.at-1], limit)
	}
	if r.at < len(r.data) && r.data[r.at] < ' ' {
		r.unexpected(r.data[r.at])
		return nil
	}
	return r.bounded(r.unquote(start), limit)
}

// plain returns how many bytes of b come before the first that is a quote, a
// backslash, a control character or not ASCII. It looks at eight at a time: of
// a word, (w - n*ones) &^ w has the high bit set in the lowest byte that is
// below n (Warren, Hacker's Delight, section 6-1); higher bytes may be marked
// wrongly, so only the lowest mark counts.
func plain(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		quote, slash := w^'"'*ones, w^'\\'*ones
		marks := (w | (w-' '*ones)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs
		if marks != 0 {
			return n + bits.TrailingZeros64(marks)/8
		}
	}
	for ; n < len(b); n++ {
		if c := b[n]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			break
		}
	}
	return n
}

func (r *Reader) bounded(text []byte, limit int) []byte {
	if len(text) > limit {
		r.Fail(errLong)
		return nil
	}
	return text
}

// unquote consumes the rest of the string whose content starts at start and
// that encoding/json shall read, because something in it is not plain.
func (r *Reader) unquote(start int) []byte {
	for ; r.at < len(r.data) && r.data[r.at] != '"'; r.at++ {
		if r.data[r.at] == '\\' {
			r.at++
		}
	}
	if r.at >= len(r.data) {
		r.Fail(errEnd)
		return nil
	}
	r.at++
	var s string
	if err := json.Unmarshal(r.data[start-1:r.at], &s); err != nil {
		r.Fail(errors.New("a string has an escape that is not one"))
	}
	return []byte(s)
}

// Skip consumes the next value, whatever it is, within the limit of depth.
func (r *Reader) Skip() {
	var closers [MaxDepth + 2]byte // of the objects and arrays that this call opened
	open := 0
	for {
		switch c := r.peek(); {
		case c == '{' || c == '[':
			r.open(c)
			closers[open] = c + 2 // '}' and ']' stand two after '{' and '['
			open++
		case c == '"':
			r.text(math.MaxInt)
		case c == 't' || c == 'f':
			r.Bool()
		case c == 'n':
			r.Null()
		default:
			r.number()
		}
		for open > 0 && r.err == nil && !r.another(closers[open-1]) {
			open--
		}
		if open == 0 || r.err != nil {
			return
		}
	}
}

// another goes to the next value of the object or array that closer ends.
func (r *Reader) another(closer byte) bool {
	if closer == ']' {
		return r.More()
	}
	_, ok := r.Key()
	return ok
}

// Raw consumes the next value and returns its text, valid until the data
// changes: for a value that encoding/json reads, now known not to be too deep.
func (r *Reader) Raw() []byte {
	r.peek()
	start := r.at
	r.Skip()
	if r.err != nil {
		return nil
	}
	return r.data[start:r.at]
}
