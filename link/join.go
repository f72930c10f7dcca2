package link

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Pin names a certificate by the SHA-256 of its public key
// (SubjectPublicKeyInfo), so that it outlives the certificate's renewal.
type Pin [sha256.Size]byte

// PinOf returns the pin of cert.
func PinOf(cert *x509.Certificate) Pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// String returns the 43 characters of base64url.
func (p Pin) String() string { return encode(p[:]) }

// MarshalText returns what String does.
func (p Pin) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what String writes.
func (p *Pin) UnmarshalText(text []byte) error {
	b, err := decode(string(text))
	if err != nil || len(b) != len(p) {
		return errors.New("a pin is 43 characters of base64url")
	}
	*p = Pin(b)
	return nil
}

// Join is all that a new client needs of a server: where it is, what its
// certificate is, and a token that proves the client may enrol.
type Join struct {
	Host  string // a name, or an address without brackets
	Port  uint16
	Pin   Pin
	Token string // base64url of 128 to 512 bits
}

const joinPrefix = "vft1:"

var errJoin = errors.New("a join string is vft1:HOST:PORT:PIN:TOKEN, as the server prints it when it starts; copy the whole of it")

// ParseJoin reads what Join.String writes. The error never repeats the string,
// which is a secret.
func ParseJoin(s string) (Join, error) {
	rest, ok := strings.CutPrefix(s, joinPrefix)
	if !ok || len(s) > 1024 {
		return Join{}, errJoin
	}
	host, rest, ok := cutHost(rest)
	fields := strings.Split(rest, ":")
	if !ok || len(fields) != 3 {
		return Join{}, errJoin
	}
	port, err := strconv.ParseUint(fields[0], 10, 16)
	if err != nil || port == 0 || strconv.FormatUint(port, 10) != fields[0] {
		return Join{}, errJoin
	}
	j := Join{Host: host, Port: uint16(port), Token: fields[2]}
	if j.Pin.UnmarshalText([]byte(fields[1])) != nil || !isToken(j.Token) {
		return Join{}, errJoin
	}
	return j, nil
}

// String returns the join string, which is a secret.
func (j Join) String() string {
	return joinPrefix + j.Addr() + ":" + j.Pin.String() + ":" + j.Token
}

// Addr returns host:port.
func (j Join) Addr() string {
	return net.JoinHostPort(j.Host, strconv.Itoa(int(j.Port)))
}

// cutHost splits HOST:rest, an IPv6 HOST in brackets.
func cutHost(s string) (host, rest string, ok bool) {
	if inner, found := strings.CutPrefix(s, "["); found {
		host, rest, ok = strings.Cut(inner, "]:")
		a, err := netip.ParseAddr(host)
		return host, rest, ok && err == nil && a.Is6() && isHost(strings.NewReplacer(":", "", "%", "").Replace(host))
	}
	host, rest, ok = strings.Cut(s, ":")
	return host, rest, ok && isHost(host)
}

// isHost reports whether s can be a host name or an IPv4 address.
func isHost(s string) bool {
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_')
	})
}

func isToken(s string) bool {
	b, err := decode(s)
	return err == nil && len(b) >= 16 && len(b) <= 64
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which the decoder would skip
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
