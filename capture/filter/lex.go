package filter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// kind tells tokens apart.
type kind uint8

const (
	endOfText kind = iota
	keyword        // a word of the language
	name           // any other word, and one after a backslash
	number         // decimal, 0x hexadecimal, 0 octal, or a named constant
	ipv4           // two to four decimal parts: 10.1, 10.1.2, 10.1.2.3
	ipv6           //
	mac            //
	symbol         // punctuation; && and || come as the keywords "and" and "or"
)

type token struct {
	kind   kind
	text   string
	value  uint32 // of a number
	column int
}

// lexer cuts a text into tokens. As in pcap-filter(7) the longest match wins, so
// "80-90" and "tcp-syn" are one word.
type lexer struct {
	text string
	at   int
	err  *Error
}

func (l *lexer) fail(column int, format string, args ...any) token {
	if l.err == nil {
		l.err = &Error{Text: l.text, Column: column, Reason: fmt.Sprintf(format, args...)}
	}
	l.at = len(l.text)
	return token{column: column}
}

// next is the next token; after a failure it is the end of the text.
func (l *lexer) next() token {
	for l.at < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.at]) >= 0 {
		l.at++
	}
	rest := l.text[l.at:]
	if rest == "" {
		return token{column: l.at + 1}
	}
	if rest[0] == '\\' {
		return l.escaped(rest)
	}
	if isAlnum(rest[0]) || rest[0] == ':' {
		if t, ok := l.word(rest); ok {
			return t
		}
	}
	return l.symbol(rest)
}

func (l *lexer) take(k kind, text string) token {
	t := token{kind: k, text: text, column: l.at + 1}
	l.at += len(text)
	return t
}

// escaped is a name that would otherwise be a keyword: \tcp.
func (l *lexer) escaped(rest string) token {
	end := strings.IndexAny(rest, " !()\n\t")
	if end < 0 {
		end = len(rest)
	}
	if end == 1 {
		return l.fail(l.at+1, `a name must follow "\"`)
	}
	t := l.take(name, rest[:end])
	t.text = t.text[1:]
	return t
}

func (l *lexer) symbol(rest string) token {
	for _, s := range []string{"&&", "||", ">=", "<=", "!=", "==", "<<", ">>"} {
		if strings.HasPrefix(rest, s) {
			t := l.take(symbol, s)
			switch s {
			case "&&":
				t.kind, t.text = keyword, "and"
			case "||":
				t.kind, t.text = keyword, "or"
			case "==":
				t.text = "="
			}
			return t
		}
	}
	if strings.IndexByte("+-*/%:[]!<>()&|^=", rest[0]) < 0 {
		return l.fail(l.at+1, "%q has no meaning here", []rune(rest)[0])
	}
	return l.take(symbol, rest[:1])
}

// word is the longest of the tokens that begin with a letter, a digit or a
// colon. Of two that are equally long, an address or a number wins over a name.
func (l *lexer) word(rest string) (token, bool) {
	id := wordLength(rest)
	hardware, digits, dotted, six := macLength(rest), numberLength(rest), ipv4Length(rest), ipv6Length(rest)
	longest := max(id, hardware, digits, dotted, six)
	if longest == 0 {
		return token{}, false
	}
	switch longest {
	case hardware:
		return l.take(mac, rest[:longest]), true
	case digits:
		return l.number(rest[:longest]), true
	case dotted:
		return l.take(ipv4, rest[:longest]), true
	case six:
		return l.take(ipv6, rest[:longest]), true
	}
	text := rest[:longest]
	if value, ok := constants[text]; ok {
		t := l.take(number, text)
		t.value = value
		return t, true
	}
	switch {
	case text == "not":
		t := l.take(symbol, text)
		t.text = "!"
		return t, true
	case keywords[text]:
		t := l.take(keyword, text)
		if text == "length" {
			t.text = "len"
		}
		return t, true
	case foreign[text]:
		return l.fail(l.at+1, "%q is not supported", text), true
	}
	return l.take(name, text), true
}

func (l *lexer) number(text string) token {
	base, digits := 10, text
	if len(text) > 1 && text[0] == '0' {
		base, digits = 8, text[1:]
		if text[1] == 'x' || text[1] == 'X' {
			base, digits = 16, text[2:]
		}
	}
	value, err := strconv.ParseUint(digits, base, 32)
	if err != nil {
		return l.fail(l.at+1, "%q is not a number of at most 32 bits (a leading 0 means octal)", text)
	}
	t := l.take(number, text)
	t.value = uint32(value)
	return t
}

// wordLength is the length of a word: letters, digits and - _ . inside, not
// ending in - or _.
func wordLength(s string) int {
	if s == "" || !isAlnum(s[0]) {
		return 0
	}
	end := 1
	for i := 1; i < len(s); i++ {
		if isAlnum(s[i]) || s[i] == '.' {
			end = i + 1
		} else if s[i] != '-' && s[i] != '_' {
			break
		}
	}
	return end
}

func numberLength(s string) int {
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') && isHex(s[2]) {
		return 2 + span(s[2:], isHex)
	}
	return span(s, isDigit)
}

// ipv4Length is the length of two to four decimal parts with dots between.
func ipv4Length(s string) int {
	length, parts := 0, 0
	for parts < 4 {
		n := span(s[min(length+min(parts, 1), len(s)):], isDigit)
		if n == 0 || parts > 0 && s[length] != '.' {
			break
		}
		length += n + min(parts, 1)
		parts++
	}
	if parts < 2 {
		return 0
	}
	return length
}

// ipv6Length is the length of the longest IPv6 address that s begins with.
func ipv6Length(s string) int {
	length := span(s, func(c byte) bool { return isHex(c) || c == ':' || c == '.' })
	for ; length >= 2; length-- {
		if strings.Count(s[:length], ":") < 2 {
			return 0
		}
		if _, err := netip.ParseAddr(s[:length]); err == nil {
			return length
		}
	}
	return 0
}

// macLength is the length of a hardware address: six parts of one or two digits
// with one of : - . between, three of four digits with dots, or twelve digits.
func macLength(s string) int {
	longest := 0
	for _, sep := range ":-." {
		longest = max(longest, groupsLength(s, byte(sep), 6, 1, 2))
	}
	longest = max(longest, groupsLength(s, '.', 3, 4, 4))
	if span(s, isHex) >= 12 {
		longest = max(longest, 12)
	}
	return longest
}

func groupsLength(s string, sep byte, groups, least, most int) int {
	length := 0
	for i := range groups {
		if i > 0 {
			if length >= len(s) || s[length] != sep {
				return 0
			}
			length++
		}
		n := min(span(s[length:], isHex), most)
		if n < least {
			return 0
		}
		length += n
	}
	return length
}

func span(s string, in func(byte) bool) int {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
func isAlnum(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' }
