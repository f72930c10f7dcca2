package ecs

import (
	"encoding/base64"
	"math"
	"net/netip"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"vft/event"
)

// record is JSON that grows at its end. Each method appends and returns the
// longer record, so that calls read in the order of the bytes. Commas follow
// from the last byte: none after an opening bracket.
type record []byte

func (r record) open() record  { return append(r, '{') }
func (r record) close() record { return append(r, '}') }

// key appends a name, which needs no escaping, and its colon.
func (r record) key(name string) record {
	if r[len(r)-1] != '{' {
		r = append(r, ',')
	}
	r = append(append(r, '"'), name...)
	return append(r, '"', ':')
}

// raw appends what is JSON already.
func (r record) raw(json string) record { return append(r, json...) }

// array opens an array, item goes before each of its values.
func (r record) array() record    { return append(r, '[') }
func (r record) endArray() record { return append(r, ']') }

func (r record) item() record {
	if r[len(r)-1] != '[' {
		r = append(r, ',')
	}
	return r
}

// quote begins or ends a string made of several texts.
func (r record) quote() record { return append(r, '"') }

func (r record) string(s string) record { return r.quote().text(s).quote() }

func (r record) strings(list []string) record {
	r = r.array()
	for _, s := range list {
		r = r.item().string(s)
	}
	return r.endArray()
}

// text appends the inside of a string (RFC 8259 section 7). Strangers choose
// what it says, and people read records on terminals: beside what JSON asks
// for, everything that does not print (C1 controls, direction overrides,
// zero-width characters) is escaped, which changes no value.
func (r record) text(s string) record {
	done := 0
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		c, size := utf8.DecodeRuneInString(s[i:])
		bad := c == utf8.RuneError && size == 1
		if bad || c == '"' || c == '\\' || !unicode.IsPrint(c) {
			r = append(r, s[done:i]...).escape(c)
			done = i + size
		}
		i += size
	}
	return append(r, s[done:]...)
}

const hexDigits = "0123456789abcdef"

func (r record) escape(c rune) record {
	switch {
	case c == '"' || c == '\\':
		return append(r, '\\', byte(c))
	case c == '\n':
		return append(r, '\\', 'n')
	case c == '\r':
		return append(r, '\\', 'r')
	case c == '\t':
		return append(r, '\\', 't')
	case c > 0xffff: // as a surrogate pair
		c -= 0x10000
		return r.escape(0xd800 | c>>10).escape(0xdc00 | c&0x3ff)
	}
	return append(r, '\\', 'u', hexDigits[c>>12&15], hexDigits[c>>8&15], hexDigits[c>>4&15], hexDigits[c&15])
}

func (r record) uint(n uint64) record { return strconv.AppendUint(r, n, 10) }
func (r record) int(n int64) record   { return strconv.AppendInt(r, n, 10) }
func (r record) bool(b bool) record   { return strconv.AppendBool(r, b) }

// float appends a number; JSON has no infinity and no NaN, they become null.
func (r record) float(f float64) record {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(r, "null"...)
	}
	format := byte('f')
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(r, f, format, -1, 64)
}

// seconds appends a duration as a number of seconds.
func (r record) seconds(d time.Duration) record { return r.float(d.Seconds()) }

// time appends t as RFC 3339 in UTC with six digits after the point: the most
// that every parser in use reads. A year that has not four digits is held at
// the nearest that has.
func (r record) time(t time.Time) record {
	t = t.UTC()
	if t.Year() > 9999 {
		t = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	} else if t.Year() < 0 {
		t = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	r = append(r, '"').digits(year, 4)
	r = append(r, '-').digits(int(month), 2)
	r = append(r, '-').digits(day, 2)
	r = append(r, 'T').digits(hour, 2)
	r = append(r, ':').digits(minute, 2)
	r = append(r, ':').digits(second, 2)
	r = append(r, '.').digits(t.Nanosecond()/1000, 6)
	return append(r, 'Z', '"')
}

// digits appends n with exactly width digits, at most six.
func (r record) digits(n, width int) record {
	r = append(r, "000000"[:width]...)
	for i := len(r) - 1; n > 0; i-- {
		r[i] = byte('0' + n%10)
		n /= 10
	}
	return r
}

func (r record) id(id event.ID) record {
	b, _ := id.AppendText(r.quote())
	return record(b).quote()
}

// ip appends an address without its zone, which no index takes.
func (r record) ip(a netip.Addr) record {
	return record(a.Unmap().WithZone("").AppendTo(r.quote())).quote()
}

func (r record) base64(b []byte) record {
	return record(base64.StdEncoding.AppendEncode(r.quote(), b)).quote()
}

// optional appends a key with a string, or nothing when the string is empty.
func (r record) optional(name, s string) record {
	if s == "" {
		return r
	}
	return r.key(name).string(s)
}
