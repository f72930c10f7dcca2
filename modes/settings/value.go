package settings

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"vft/engine/flows"
)

// Value reads the texts of one option into fields of the settings. An option may
// set fields of several rooms alike.
type Value struct {
	List bool   // several values: the flag repeats, commas separate
	Bool bool   // the flag may stand without a value
	bare string // what the key means that stands in a file without a value

	fields []any // pointers to what is set
	set    func(texts []string) error
}

// scalarValue reads one value; of several texts the last counts.
func scalarValue[T any](parse func(string) (T, error), fields []*T) Value {
	return Value{fields: pointers(fields), set: func(texts []string) error {
		v, err := parse(texts[len(texts)-1])
		if err != nil {
			return err
		}
		for _, f := range fields {
			*f = v
		}
		return nil
	}}
}

// listValue reads several values; "" is none.
func listValue[T any](parse func(string) (T, error), fields []*[]T) Value {
	return Value{List: true, fields: pointers(fields), set: func(texts []string) error {
		var all []T
		for _, text := range texts {
			for part := range strings.SplitSeq(text, ",") {
				part = strings.TrimSpace(part)
				if part == "" {
					continue
				}
				v, err := parse(part)
				if err != nil {
					return err
				}
				all = append(all, v)
			}
		}
		for _, f := range fields {
			*f = all
		}
		return nil
	}}
}

func pointers[T any](fields []*T) (all []any) {
	for _, f := range fields {
		all = append(all, f)
	}
	return all
}

func anyText(s string) (string, error) { return s, nil }

// Text is any text.
func Text(fields ...*string) Value { return scalarValue(anyText, fields) }

// Texts is a list of texts; the flag repeats.
func Texts(fields ...*[]string) Value { return listValue(anyText, fields) }

// Bool is true or false; the flag alone means true.
func Bool(fields ...*bool) Value {
	v := scalarValue(func(s string) (bool, error) {
		v, err := strconv.ParseBool(s)
		if err != nil {
			return false, fmt.Errorf("%q is not true or false", s)
		}
		return v, nil
	}, fields)
	v.Bool = true
	return v
}

// Int is a whole number from low to high.
func Int(low, high int, fields ...*int) Value {
	return scalarValue(func(s string) (int, error) {
		v, err := strconv.Atoi(s)
		if err != nil || v < low || v > high {
			return 0, fmt.Errorf("%q is not a whole number from %d to %d", s, low, high)
		}
		return v, nil
	}, fields)
}

// Duration is a time from low to high, written as 100ms, 3.1s or 5m.
func Duration(low, high time.Duration, fields ...*time.Duration) Value {
	return scalarValue(func(s string) (time.Duration, error) {
		v, err := time.ParseDuration(s)
		if s == "0" {
			v, err = 0, nil
		}
		if err != nil || v < low || v > high {
			return 0, fmt.Errorf("%q is not a time from %s to %s, written as 100ms, 3.1s or 5m", s, low, high)
		}
		return v, nil
	}, fields)
}

// OneOf is one of the given words.
func OneOf(words []string, fields ...*string) Value {
	return scalarValue(func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("%q is none of %s", s, strings.Join(words, ", "))
		}
		return s, nil
	}, fields)
}

// Ports is a list of TCP or UDP ports.
func Ports(fields ...*[]uint16) Value {
	return listValue(func(s string) (uint16, error) {
		v, err := strconv.ParseUint(s, 10, 16)
		if err != nil || v == 0 {
			return 0, fmt.Errorf("%q is not a port from 1 to 65535", s)
		}
		return uint16(v), nil
	}, fields)
}

// Addresses is a list of IP addresses of this host.
func Addresses(fields ...*[]netip.Addr) Value {
	return listValue(func(s string) (netip.Addr, error) {
		v, err := netip.ParseAddr(s)
		if err != nil {
			return v, fmt.Errorf("%q is not an IP address", s)
		}
		return v, nil
	}, fields)
}

// HostPort is a host name or address with a port: "10.0.0.1:9999", "[::1]:9999".
func HostPort(fields ...*string) Value {
	return scalarValue(func(s string) (string, error) {
		_, _, err := SplitHostPort(s)
		return s, err
	}, fields)
}

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

// IsLoopback reports whether HOST:PORT is reached from this host only.
func IsLoopback(hostport string) bool {
	host, _, err := SplitHostPort(hostport)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Number is a number from low to high.
func Number(low, high float64, fields ...*float64) Value {
	return scalarValue(func(s string) (float64, error) {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v >= low && v <= high) {
			return 0, fmt.Errorf("%q is not a number from %g to %g", s, low, high)
		}
		return v, nil
	}, fields)
}

// Rate is how many times something may happen in a time: 1/week, 3/day, 0.5/hour. The
// fields get the times in a second, above 0.
func Rate(fields ...*float64) Value {
	return scalarValue(func(s string) (float64, error) {
		number, unit, _ := strings.Cut(s, "/")
		seconds := map[string]float64{"hour": 3600, "day": 24 * 3600, "week": 7 * 24 * 3600, "month": 30 * 24 * 3600}[unit]
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || seconds == 0 || !(n > 0 && n <= 1e6) {
			return 0, fmt.Errorf("%q is not so many in a time, as 1/week, 3/day, 0.5/hour or 1/month", s)
		}
		return n / seconds, nil
	}, fields)
}

// Bytes is a number of bytes: 1000, 64KiB, 100MiB, 2GiB; or none, which is NaN.
func Bytes(fields ...*float64) Value {
	return scalarValue(func(s string) (float64, error) {
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
			return 0, fmt.Errorf("%q is not a number of bytes, as 1000, 64KiB, 100MiB or none", s)
		}
		return v * factor, nil
	}, fields)
}

// Networks is a list of networks: 10.0.0.0/8, 2001:db8::/32, or one address.
func Networks(fields ...*[]netip.Prefix) Value {
	return listValue(func(s string) (netip.Prefix, error) {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			a = a.Unmap()
			return netip.PrefixFrom(a, a.BitLen()), nil
		}
		v, err := netip.ParsePrefix(s)
		if err != nil {
			return v, fmt.Errorf("%q is not a network, as 10.0.0.0/8 or 2001:db8::/32", s)
		}
		return v.Masked(), nil
	}, fields)
}

// Listeners is a list of UDP addresses to listen on, each HOST:PORT, :PORT for
// all addresses (an address that is not valid) or PORT alone; "off" is none. The
// key alone means all addresses and the given port.
func Listeners(usual uint16, fields ...*[]netip.AddrPort) Value {
	v := listValue(parseListener, fields)
	v.bare = fmt.Sprintf(":%d", usual)
	set := v.set
	v.set = func(texts []string) error {
		if err := set(texts); err != nil {
			return err
		}
		for _, f := range fields {
			*f = slices.DeleteFunc(*f, func(at netip.AddrPort) bool { return at.Port() == 0 })
		}
		return nil
	}
	return v
}

func parseListener(s string) (at netip.AddrPort, err error) {
	if s == "off" {
		return at, nil
	}
	text := s
	if !strings.Contains(s, ":") {
		text = ":" + s
	}
	host, port, err := SplitHostPort(text)
	if err != nil || port == 0 {
		return at, fmt.Errorf("%q is not an address to listen on, as :2055 or 10.0.0.1:2055; off is none", s)
	}
	if host == "" {
		return netip.AddrPortFrom(netip.Addr{}, port), nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return at, fmt.Errorf("%q names no IP address; write :%d for all addresses, or the address of this host", s, port)
	}
	return netip.AddrPortFrom(addr, port), nil
}

// Sampling is a list of exporters and the sampling rates that hold for them
// whatever they say: 10.0.0.1=1000.
func Sampling(fields ...*[]flows.SamplingRate) Value {
	return listValue(func(s string) (r flows.SamplingRate, err error) {
		addr, rate, _ := strings.Cut(s, "=")
		exporter, err := netip.ParseAddr(strings.TrimSpace(addr))
		n, errRate := strconv.ParseUint(strings.TrimSpace(rate), 10, 31)
		if err != nil || errRate != nil || n == 0 {
			return r, fmt.Errorf("%q is not EXPORTER=RATE, as 10.0.0.1=1000", s)
		}
		return flows.SamplingRate{Exporter: exporter.Unmap(), Rate: uint32(n)}, nil
	}, fields)
}
