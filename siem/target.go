package siem

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Target says where records go and how. Parse makes one.
type Target struct {
	Scheme  string // "tcp", "tls", "udp", "file" or "stdout"
	Address string // host:port of tcp, tls and udp
	Path    string // of file
	CA      string // tls: PEM file of the authorities to trust; empty: those of the system
	Cert    string // tls: PEM file of the certificate to show, if any
	Key     string // tls: PEM file of its key
}

const allowed = "allowed are host:port, tcp://host:port, tls://host:port, udp://host:port, file:///path, stdout://"

// Parse reads a destination as it is typed: host:port, which is TCP, or a URL
// tcp://, tls:// (with ?ca=FILE, &cert=FILE&key=FILE), udp://, file:// or
// stdout://. It opens nothing. Errors are one line that says what is wrong and
// what is allowed; they never repeat a user name or a password.
func Parse(dest string) (Target, error) {
	t, err := parse(dest)
	if err != nil {
		return Target{}, fmt.Errorf("destination %q: %w", redact(dest), err)
	}
	return t, nil
}

func parse(dest string) (Target, error) {
	if !strings.Contains(dest, "://") {
		return Target{Scheme: "tcp", Address: dest}, checkAddress(dest)
	}
	u, err := url.Parse(dest)
	if err != nil {
		return Target{}, errors.New("not a URL; " + allowed) // url's own text repeats the password
	}
	if u.User != nil {
		return Target{}, errors.New("a user name or password has no meaning here; remove it")
	}
	if u.Fragment != "" {
		return Target{}, errors.New("nothing may follow a #")
	}
	switch u.Scheme {
	case "tcp", "udp":
		return network(u, nil)
	case "tls":
		return network(u, []string{"ca", "cert", "key"})
	case "file":
		return file(u)
	case "stdout":
		if u.Host != "" || u.Path != "" || u.RawQuery != "" {
			return Target{}, errors.New("stdout:// takes nothing after it")
		}
		return Target{Scheme: "stdout"}, nil
	}
	return Target{}, fmt.Errorf("scheme %q is not known; %s", u.Scheme, allowed)
}

// network reads a URL whose host is host:port. options are the keys that its
// query may have.
func network(u *url.URL, options []string) (Target, error) {
	if u.Path != "" && u.Path != "/" {
		return Target{}, fmt.Errorf("%s:// takes no path; write %s://%s", u.Scheme, u.Scheme, u.Host)
	}
	if err := checkAddress(u.Host); err != nil {
		return Target{}, err
	}
	t := Target{Scheme: u.Scheme, Address: u.Host}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Target{}, errors.New("what follows the ? is not key=value")
	}
	fields := map[string]*string{}
	for i, field := range []*string{&t.CA, &t.Cert, &t.Key}[:len(options)] {
		fields[options[i]] = field
	}
	for key, values := range query {
		field, known := fields[key]
		if !known {
			return Target{}, unknownOption(u.Scheme, key, options)
		}
		if len(values) != 1 || values[0] == "" {
			return Target{}, fmt.Errorf("%s takes one file name", key)
		}
		*field = values[0]
	}
	if (t.Cert == "") != (t.Key == "") {
		return Target{}, errors.New("cert and key go together; give both or none")
	}
	return t, nil
}

func unknownOption(scheme, key string, options []string) error {
	if len(options) == 0 {
		return fmt.Errorf("option %q is not known; %s:// takes none", key, scheme)
	}
	return fmt.Errorf("option %q is not known; %s:// takes %s", key, scheme, strings.Join(options, ", "))
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !isHost(host) || net.JoinHostPort(host, port) != address {
		return errors.New("not host:port, an IPv6 address in brackets; " + allowed)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	return nil
}

// isHost reports whether s is an address, or may be the name of a host (RFC
// 1123, and the underscore that some networks use).
func isHost(s string) bool {
	if strings.Contains(s, ":") {
		_, err := netip.ParseAddr(s)
		return err == nil
	}
	strange := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_'
	}
	return s != "" && !strings.ContainsFunc(s, strange)
}

func file(u *url.URL) (Target, error) {
	path := u.Path
	if runtime.GOOS == "windows" {
		path = strings.TrimPrefix(path, "/") // file:///C:/vft.json
	}
	if u.Host != "" || !filepath.IsAbs(filepath.FromSlash(path)) {
		return Target{}, errors.New("file:// takes an absolute path, with three slashes: file:///var/log/vft.json")
	}
	if u.RawQuery != "" {
		return Target{}, errors.New("file:// takes no options")
	}
	if strings.HasSuffix(path, "/") {
		return Target{}, errors.New("file:// takes a file, not a directory")
	}
	return Target{Scheme: "file", Path: filepath.FromSlash(path)}, nil
}

// redact replaces what may be a password.
func redact(dest string) string {
	scheme, rest, ok := strings.Cut(dest, "://")
	at := strings.LastIndexByte(rest, '@')
	if !ok || at < 0 {
		return dest
	}
	return scheme + "://..." + rest[at:]
}

// String returns the destination as a URL, without its options.
func (t Target) String() string {
	switch t.Scheme {
	case "file":
		return "file://" + t.Path
	case "stdout":
		return "stdout://"
	}
	return t.Scheme + "://" + t.Address
}

// Warnings returns what a person should know before records are sent to t, one
// sentence each, with the remedy: ports whose owner takes no lines of JSON.
func (t Target) Warnings() []string {
	_, port, err := net.SplitHostPort(t.Address)
	if err != nil {
		return nil
	}
	const remedy = "; send to a Logstash tcp input with codec json_lines, or to Fluent Bit or Vector, which pass the records on"
	switch port {
	case "9200":
		return []string{t.String() + ": port 9200 of Elasticsearch takes HTTP requests, lines of JSON are lost there" + remedy}
	case "9300":
		return []string{t.String() + ": port 9300 of Elasticsearch takes its own binary protocol, lines of JSON are lost there without an error" + remedy}
	case "5044":
		return []string{t.String() + ": port 5044 of Logstash usually takes the Beats protocol, lines of JSON are lost there; send to its tcp input with codec json_lines"}
	case "8088":
		return []string{t.String() + ": port 8088 of Splunk usually takes HTTP requests, lines of JSON are lost there; send to a tcp input of Splunk"}
	}
	return nil
}
