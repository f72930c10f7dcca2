package amqp

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	plain := Target{Address: "localhost:5672", VHost: "/", Heartbeat: 10 * time.Second, user: "guest", password: "guest"}
	with := func(change func(*Target)) Target {
		c := plain
		change(&c)
		return c
	}
	for _, c := range []struct {
		why, uri string
		want     Target
		printed  string
	}{
		{"the address of the original's documentation", "amqp://localhost", plain, "amqp://localhost:5672"},
		{"nothing but the scheme", "amqp://", plain, "amqp://localhost:5672"},
		{"an empty vhost is the default", "amqp://localhost/", plain, "amqp://localhost:5672"},
		{"the default vhost, written out", "amqp://localhost/%2F", plain, "amqp://localhost:5672"},
		{"user, password, port and vhost", "amqp://u:p@h.example:1/v", with(func(t *Target) {
			t.Address, t.VHost, t.user, t.password = "h.example:1", "v", "u", "p"
		}), "amqp://h.example:1/v"},
		{"encoded characters", "amqp://u%40x:p%2Fq%3A@[::1]:1/a%2Fb", with(func(t *Target) {
			t.Address, t.VHost, t.user, t.password = "[::1]:1", "a/b", "u@x", "p/q:"
		}), "amqp://[::1]:1/a%2Fb"},
		{"TLS has its own port", "amqps://h", with(func(t *Target) { t.Address, t.TLS = "h:5671", true }), "amqps://h:5671"},
		{"all options", "amqps://h?cacertfile=/ca&certfile=/c&keyfile=/k&server_name_indication=n&heartbeat=5", with(func(t *Target) {
			t.Address, t.TLS, t.CA, t.Cert, t.Key, t.ServerName, t.Heartbeat = "h:5671", true, "/ca", "/c", "/k", "n", 5*time.Second
		}), "amqps://h:5671"},
		{"a user without a password", "amqp://u@h", with(func(t *Target) { t.Address, t.user, t.password = "h:5672", "u", "" }), "amqp://h:5672"},
	} {
		got, err := Parse(c.uri)
		if err != nil || got != c.want || got.String() != c.printed {
			t.Errorf("%s: %s is %s, %v", c.why, c.uri, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ why, uri, says string }{
		{"another scheme", "http://u:s3cret@h", "amqp://USER"},
		{"no scheme", "h:5672", "amqp://USER"},
		{"no address at all", "", "amqp://USER"},
		{"not a URL: a percent sign that encodes nothing", "amqp://u:s3cret%@h", "percent-encoded"},
		{"not a URL: a space", "amqp://u:s3 cret@h", "percent-encoded"},
		{"not a URL: a slash in the password", "amqp://u:s3cret/x@h", "percent-encoded"},
		{"a # in the password", "amqp://u:53#s3cret@h", "percent-encoded"},
		{"a ? in the password", "amqp://u:53?s3cret@h", "percent-encoded"},
		{"a slash in a password of digits", "amqp://u:53/s3cret@h", "percent-encoded"},
		{"port 0", "amqp://u:s3cret@h:0", "1 to 65535"},
		{"a port too large", "amqp://u:s3cret@h:65536", "1 to 65535"},
		{"a port alone", "amqp://u:s3cret@:5672", "the host"},
		{"a strange host", "amqp://u:s3cret@h_ö", "the host"},
		{"a vhost with a slash", "amqp://u:s3cret@h/a/b", "%2f"},
		{"a long vhost", "amqp://u:s3cret@h/" + strings.Repeat("v", 256), "255"},
		{"an unknown option", "amqp://u:s3cret@h?verify=no", "heartbeat"},
		{"TLS options without TLS", "amqp://u:s3cret@h?cacertfile=x", "known are heartbeat"},
		{"an option twice", "amqp://u:s3cret@h?heartbeat=1&heartbeat=2", "one value"},
		{"no heartbeat: a silent broker would never be noticed", "amqp://u:s3cret@h?heartbeat=0", "1 to 300"},
		{"a certificate without its key", "amqps://u:s3cret@h?certfile=x", "go together"},
		{"a query that is none", "amqp://u:s3cret@h?%zz", "key=value"},
		{"a fragment", "amqp://u:s3cret@h/#x", "%23"},
	} {
		_, err := Parse(c.uri)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "s3") || strings.Contains(err.Error(), "53") && c.says != "1 to 65535" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %s gives %v", c.why, c.uri, err)
		}
	}
}

func TestTargetPrintsNoPassword(t *testing.T) {
	to := target(t, "amqp://someone:s3cret@h/v")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, to); strings.Contains(got, "s3cret") || strings.Contains(got, "someone") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if got := fmt.Sprintf("%+v", struct{ T *Target }{&to}); strings.Contains(got, "s3cret") {
		t.Errorf("a pointer prints %s", got)
	}
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		why, uri string
		says     []string
	}{
		{"what stays on the host needs no TLS", "amqp://localhost", nil},
		{"nor does an address of it", "amqp://[::1]", nil},
		{"a password in the clear", "amqp://u:p@192.0.2.1", []string{"amqps://"}},
		{"guest is for the broker's own host", "amqps://h", []string{"guest"}},
		{"both", "amqp://h", []string{"amqps://", "guest"}},
	} {
		got := target(t, c.uri).Warnings()
		if len(got) != len(c.says) {
			t.Errorf("%s: %q", c.why, got)
			continue
		}
		for i, says := range c.says {
			if !strings.Contains(got[i], says) {
				t.Errorf("%s: %q", c.why, got)
			}
		}
	}
}

// FuzzParse looks for an address whose password shows, or that panics.
func FuzzParse(f *testing.F) {
	f.Add("amqp://", "@localhost:5672/%2f")
	f.Add("amqps://u:", "@[::1]?heartbeat=5&cacertfile=/x")
	f.Add("amqp://u:%", "/@h#")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "s3cret7xq"
		to, err := Parse(before + secret + after)
		if err == nil && (to.Address == "" || to.VHost == "" || to.Heartbeat == 0) {
			t.Errorf("%q gives %#v", before+secret+after, to)
		}
		if user, password, ok := strings.Cut(before, "://"); !ok || user != "amqp" || !strings.HasSuffix(password, ":") || strings.ContainsAny(password, "@/?#") || !strings.HasPrefix(after, "@") {
			return // the secret is not the password
		}
		if err != nil && strings.Contains(err.Error(), secret) || err == nil && strings.Contains(to.String(), secret) {
			t.Errorf("the password shows: %v, %s", err, to)
		}
	})
}
