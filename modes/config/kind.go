package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind reads the text of a value. Its zero value takes any text.
type Kind struct {
	List  bool                      // several values: the flag repeats, commas separate
	Bool  bool                      // the flag may stand without a value
	bare  string                    // what the key means that stands in a file without a value
	parse func(string) (any, error) // of one value; nil: the text itself
}

// Text is any text.
var Text = Kind{}

// Texts is a list of texts; the flag repeats.
var Texts = Kind{List: true}

// Bool is true or false; the flag alone means true.
var Bool = Kind{Bool: true, parse: func(s string) (any, error) {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not true or false", s)
	}
	return v, nil
}}

// Int is a whole number from low to high.
func Int(low, high int) Kind {
	return Kind{parse: func(s string) (any, error) {
		v, err := strconv.Atoi(s)
		if err != nil || v < low || v > high {
			return nil, fmt.Errorf("%q is not a whole number from %d to %d", s, low, high)
		}
		return v, nil
	}}
}

// Duration is a time from low to high, written as 100ms, 3.1s or 5m.
func Duration(low, high time.Duration) Kind {
	return Kind{parse: func(s string) (any, error) {
		v, err := time.ParseDuration(s)
		if s == "0" {
			v, err = 0, nil
		}
		if err != nil || v < low || v > high {
			return nil, fmt.Errorf("%q is not a time from %s to %s, written as 100ms, 3.1s or 5m", s, low, high)
		}
		return v, nil
	}}
}

// OneOf is one of the given words.
func OneOf(words ...string) Kind {
	return Kind{parse: func(s string) (any, error) {
		if !slices.Contains(words, s) {
			return nil, fmt.Errorf("%q is none of %s", s, strings.Join(words, ", "))
		}
		return s, nil
	}}
}

// Ports is a list of TCP or UDP ports.
var Ports = Kind{List: true, parse: func(s string) (any, error) {
	v, err := strconv.ParseUint(s, 10, 16)
	if err != nil || v == 0 {
		return nil, fmt.Errorf("%q is not a port from 1 to 65535", s)
	}
	return uint16(v), nil
}}

// Addresses is a list of IP addresses of this host.
var Addresses = Kind{List: true, parse: func(s string) (any, error) {
	v, err := netip.ParseAddr(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not an IP address", s)
	}
	return v, nil
}}

// HostPort is a host name or address with a port: "10.0.0.1:9999", "[::1]:9999".
var HostPort = Kind{parse: func(s string) (any, error) {
	host, port, err := SplitHostPort(s)
	if err != nil {
		return nil, err
	}
	_ = host
	_ = port
	return s, nil
}}

// SplitHostPort takes HOST:PORT apart; both must be there.
func SplitHostPort(s string) (host string, port uint16, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", 0, fmt.Errorf("%q has no port; write HOST:PORT, as 10.0.0.1:9999", s)
	}
	host = s[:i]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.Contains(host, ":") {
		return "", 0, fmt.Errorf("%q is not HOST:PORT; an IPv6 address stands in brackets, as [::1]:9999", s)
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not a port from 0 to 65535", s[i+1:])
	}
	return host, uint16(n), nil
}

// read parses all texts of one option. Of an option that is no list the last
// text counts. An empty list may be written as "".
func (k Kind) read(texts []string) (any, error) {
	if !k.List {
		return k.one(texts[len(texts)-1])
	}
	all := []any{}
	for _, text := range texts {
		for part := range strings.SplitSeq(text, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			v, err := k.one(part)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
	}
	return all, nil
}

func (k Kind) one(text string) (any, error) {
	if k.parse == nil {
		return text, nil
	}
	return k.parse(text)
}

// Number is a number from low to high.
func Number(low, high float64) Kind {
	return Kind{parse: func(s string) (any, error) {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v >= low && v <= high) {
			return nil, fmt.Errorf("%q is not a number from %g to %g", s, low, high)
		}
		return v, nil
	}}
}

// Bytes is a number of bytes: 1000, 64KiB, 100MiB, 2GiB; or none, which is NaN.
var Bytes = Kind{parse: func(s string) (any, error) {
	if s == "none" {
		return math.NaN(), nil
	}
	text, factor := s, 1.0
	for unit, size := range map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if cut, ok := strings.CutSuffix(s, unit); ok {
			text, factor = cut, size
		}
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v*factor <= 1<<62) {
		return nil, fmt.Errorf("%q is not a number of bytes, as 1000, 64KiB, 100MiB or none", s)
	}
	return v * factor, nil
}}

// Networks is a list of networks: 10.0.0.0/8, 2001:db8::/32, or one address.
var Networks = Kind{List: true, parse: func(s string) (any, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	v, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not a network, as 10.0.0.0/8 or 2001:db8::/32", s)
	}
	return v.Masked(), nil
}}

// Listeners is a list of UDP addresses to listen on, each HOST:PORT, :PORT for
// all addresses or PORT alone; "off" is none. The key alone means all addresses
// and the given port.
func Listeners(port uint16) Kind {
	return Kind{List: true, bare: fmt.Sprintf(":%d", port), parse: func(s string) (any, error) {
		if s == "off" {
			return Listener{}, nil
		}
		text := s
		if !strings.Contains(s, ":") {
			text = ":" + s
		}
		host, port, err := SplitHostPort(text)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("%q is not an address to listen on, as :2055 or 10.0.0.1:2055; off is none", s)
		}
		l := Listener{Port: port}
		if host == "" {
			return l, nil
		}
		if l.Addr, err = netip.ParseAddr(host); err != nil {
			return nil, fmt.Errorf("%q names no IP address; write :%d for all addresses, or the address of this host", s, port)
		}
		return l, nil
	}}
}

// Listener is an address to listen on. Port 0 is none at all; an Addr that is
// not valid means all addresses.
type Listener struct {
	Addr netip.Addr
	Port uint16
}

// Sampling is a list of exporters and the sampling rates that hold for them
// whatever they say: 10.0.0.1=1000.
var Sampling = Kind{List: true, parse: func(s string) (any, error) {
	addr, rate, _ := strings.Cut(s, "=")
	exporter, err := netip.ParseAddr(strings.TrimSpace(addr))
	n, errRate := strconv.ParseUint(strings.TrimSpace(rate), 10, 31)
	if err != nil || errRate != nil || n == 0 {
		return nil, fmt.Errorf("%q is not EXPORTER=RATE, as 10.0.0.1=1000", s)
	}
	return SamplingRate{exporter.Unmap(), uint32(n)}, nil
}}

// SamplingRate says that an exporter looks at one packet of Rate.
type SamplingRate struct {
	Exporter netip.Addr
	Rate     uint32
}
