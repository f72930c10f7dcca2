package amqp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Target says which broker and as whom. Parse makes one. However it is printed,
// the password is left out.
type Target struct {
	TLS        bool
	Address    string        // host:port
	VHost      string        // "/" unless the address names another
	CA         string        // TLS: PEM file of the authorities to trust; empty: those of the system
	Cert       string        // TLS: PEM file of the certificate to show, if any
	Key        string        // TLS: PEM file of its key
	ServerName string        // TLS: name in the broker's certificate; empty: the host of Address
	Heartbeat  time.Duration // a broker that is silent for about twice as long is given up

	user, password string
}

const form = "allowed is amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps:// for TLS"

// Parse reads the address of a broker as RabbitMQ writes it
// (https://www.rabbitmq.com/docs/uri-spec): amqp:// or amqps://, then
// user:password@ (default guest:guest), host (default localhost), :port (default
// 5672, TLS 5671) and /vhost (default "/"); strange characters are
// percent-encoded. Of its query parameters it knows heartbeat (1 to 300 s,
// default 10) and, with amqps, cacertfile, certfile, keyfile and
// server_name_indication. It opens nothing. Errors are one line that never
// repeats a user name or a password.
func Parse(uri string) (Target, error) {
	u, err := url.Parse(uri)
	if err != nil || strings.Contains(u.EscapedPath()+u.RawQuery+u.Fragment, "@") {
		// A password that holds a /, ? or # of its own is split there, and a
		// part of it read as host, port or option: none of them is repeated.
		return Target{}, errors.New("the AMQP address is not a URL: a character of the user name or the password may have to be percent-encoded; " + form)
	}
	t, err := parse(u)
	if err != nil {
		return Target{}, fmt.Errorf("the AMQP address is not understood: %w", err)
	}
	return t, nil
}

func parse(u *url.URL) (Target, error) {
	t := Target{TLS: u.Scheme == "amqps", VHost: "/", Heartbeat: 10 * time.Second, user: "guest", password: "guest"}
	if u.Scheme != "amqp" && !t.TLS || u.Opaque != "" {
		return t, errors.New("the scheme is not amqp:// or amqps://; " + form)
	}
	if u.Fragment != "" {
		return t, errors.New("a # in it must be written %23")
	}
	if u.User != nil {
		t.user = u.User.Username()
		t.password, _ = u.User.Password()
	}
	if strings.Count(u.EscapedPath(), "/") > 1 {
		return t, errors.New("a slash in the name of the vhost must be written %2f")
	}
	if len(u.Path) > 1 {
		t.VHost = u.Path[1:]
	}
	if len(t.VHost) > 255 {
		return t, errors.New("the name of the vhost has more than 255 bytes")
	}
	if err := t.setAddress(u); err != nil {
		return t, err
	}
	return t, t.setOptions(u.RawQuery)
}

func (t *Target) setAddress(u *url.URL) error {
	host, port := u.Hostname(), u.Port()
	if host == "" && u.Host == "" {
		host = "localhost"
	}
	if port == "" {
		port = "5672"
		if t.TLS {
			port = "5671"
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("the port is not a number from 1 to 65535")
	}
	if !isHost(host) {
		return errors.New("the host is no name and no address, an IPv6 address in brackets; " + form)
	}
	t.Address = net.JoinHostPort(host, port)
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

func (t *Target) setOptions(query string) error {
	options, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("what follows the ? is not key=value")
	}
	fields := map[string]*string{}
	known := []string{"heartbeat"}
	if t.TLS {
		fields = map[string]*string{"cacertfile": &t.CA, "certfile": &t.Cert, "keyfile": &t.Key, "server_name_indication": &t.ServerName}
		known = []string{"heartbeat", "cacertfile", "certfile", "keyfile", "server_name_indication"}
	}
	for key, values := range options {
		if !slices.Contains(known, key) {
			return fmt.Errorf("an option is not known; known are %s", strings.Join(known, ", "))
		}
		if len(values) != 1 || values[0] == "" {
			return fmt.Errorf("%s takes one value", key)
		}
		if field := fields[key]; field != nil {
			*field = values[0]
			continue
		}
		seconds, err := strconv.Atoi(values[0])
		if err != nil || seconds < 1 || seconds > 300 {
			return errors.New("heartbeat is not a number of seconds from 1 to 300")
		}
		t.Heartbeat = time.Duration(seconds) * time.Second
	}
	if (t.Cert == "") != (t.Key == "") {
		return errors.New("certfile and keyfile go together; give both or none")
	}
	return nil
}

// String returns the address of the broker, without user, password and options.
func (t Target) String() string {
	scheme := "amqp"
	if t.TLS {
		scheme = "amqps"
	}
	if t.VHost == "/" {
		return scheme + "://" + t.Address
	}
	return scheme + "://" + t.Address + "/" + url.PathEscape(t.VHost)
}

// Warnings returns what a person should know before threats are sent to t, one
// sentence each, with the remedy.
func (t Target) Warnings() []string {
	host, _, err := net.SplitHostPort(t.Address)
	address, _ := netip.ParseAddr(host)
	if err != nil || host == "localhost" || address.IsLoopback() {
		return nil
	}
	var out []string
	if !t.TLS {
		out = append(out, t.String()+": password and threats cross the network in the clear; use amqps://")
	}
	if t.user == "guest" {
		out = append(out, t.String()+": RabbitMQ lets the user guest in from its own host only; name a user of vft's own")
	}
	return out
}

// GoString keeps %#v from printing the password.
func (t Target) GoString() string { return t.String() }

// tlsConfig makes the configuration of TLS from its files; nil without TLS.
func (t Target) tlsConfig() (*tls.Config, error) {
	if !t.TLS {
		return nil, nil
	}
	config := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(t.Address)
		if err != nil {
			return nil, err
		}
		config.ServerName = host
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
