package siem

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		why, in string
		want    Target
	}{
		{"host:port is TCP", "logs.example:5000", Target{Scheme: "tcp", Address: "logs.example:5000"}},
		{"an address", "192.0.2.1:514", Target{Scheme: "tcp", Address: "192.0.2.1:514"}},
		{"IPv6 in brackets", "[2001:db8::1]:514", Target{Scheme: "tcp", Address: "[2001:db8::1]:514"}},
		{"tcp", "tcp://127.0.0.1:5000", Target{Scheme: "tcp", Address: "127.0.0.1:5000"}},
		{"a slash at the end means nothing", "tcp://127.0.0.1:5000/", Target{Scheme: "tcp", Address: "127.0.0.1:5000"}},
		{"schemes in capitals", "TCP://a:1", Target{Scheme: "tcp", Address: "a:1"}},
		{"a link-local address with its zone", "[fe80::1%eth0]:514", Target{Scheme: "tcp", Address: "[fe80::1%eth0]:514"}},
		{"udp", "udp://[::1]:514", Target{Scheme: "udp", Address: "[::1]:514"}},
		{"tls with the system's authorities", "tls://a:6514", Target{Scheme: "tls", Address: "a:6514"}},
		{"tls with an own authority", "tls://a:6514?ca=/etc/ca.pem", Target{Scheme: "tls", Address: "a:6514", CA: "/etc/ca.pem"}},
		{"tls with a client certificate", "tls://a:1?cert=c&key=k", Target{Scheme: "tls", Address: "a:1", Cert: "c", Key: "k"}},
		{"file", "file:///var/log/vft.json", Target{Scheme: "file", Path: "/var/log/vft.json"}},
		{"an escaped blank", "file:///var/log/my%20vft.json", Target{Scheme: "file", Path: "/var/log/my vft.json"}},
		{"stdout", "stdout://", Target{Scheme: "stdout"}},
	} {
		got, err := Parse(c.in)
		if err != nil || got != c.want {
			t.Errorf("%s: %q gave %+v, %v", c.why, c.in, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ why, in, says string }{
		{"empty", "", "host:port"},
		{"no port", "logs.example", "host:port"},
		{"no host", ":5000", "host:port"},
		{"IPv6 without brackets", "2001:db8::1:514", "brackets"},
		{"brackets around something else", "[::)]:514", "host:port"},
		{"port 0", "a:0", "1 to 65535"},
		{"port out of range", "tcp://a:65536", ""},
		{"port by name", "a:syslog", "1 to 65535"},
		{"a blank in the host", "a b:1", "host:port"},
		{"a scheme without its slashes", "stdout", "stdout://"},
		{"an unknown scheme", "ftp://a:1", "allowed are"},
		{"a scheme of later", "hec+https://a:1", "allowed are"},
		{"a user in the URL", "tcp://me:hunter2@a:1", "remove it"},
		{"a user in a URL that is none", "tcp://me:hunter2@a b:1", ""},
		{"a path for tcp", "tcp://a:1/x", "no path"},
		{"an option for tcp", "tcp://a:1?ca=x", "takes none"},
		{"an unknown option", "tls://a:1?insecure=true", "ca, cert, key"},
		{"an option twice", "tls://a:1?ca=x&ca=y", "one file"},
		{"an empty option", "tls://a:1?ca=", "one file"},
		{"a certificate without its key", "tls://a:1?cert=x", "both or none"},
		{"a key without its certificate", "tls://a:1?key=x", "both or none"},
		{"a broken query", "tls://a:1?ca=%zz", "key=value"},
		{"a fragment", "tcp://a:1#x", "#"},
		{"two slashes make a host", "file://var/log/x", "three slashes"},
		{"a relative file", "file:x://", ""},
		{"a file without a name", "file://", "three slashes"},
		{"a directory", "file:///var/log/", "directory"},
		{"an option for a file", "file:///x?a=b", "no options"},
		{"something after stdout", "stdout://x", "nothing after"},
		{"a line end", "tcp://a:1\n", ""},
	} {
		got, err := Parse(c.in)
		switch {
		case err == nil:
			t.Errorf("%s: %q gave %+v", c.why, c.in, got)
		case !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: %q gave the error %q, which does not say %q in one line", c.why, c.in, err, c.says)
		case strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: the error repeats a password: %v", c.why, err)
		}
	}
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct{ why, in, says string }{
		{"HTTP of Elasticsearch", "es:9200", "HTTP"},
		{"transport of Elasticsearch", "tcp://es:9300", "binary protocol"},
		{"by TLS too", "tls://es:9300", "binary protocol"},
		{"Beats", "logstash:5044", "json_lines"},
		{"HEC of Splunk", "splunk:8088", "tcp input"},
		{"any other port", "es:9301", ""},
		{"a file has no port", "file:///9300", ""},
	} {
		target, err := Parse(c.in)
		if err != nil {
			t.Fatal(err)
		}
		got := target.Warnings()
		if c.says == "" && len(got) > 0 || c.says != "" && (len(got) != 1 || !strings.Contains(got[0], c.says)) {
			t.Errorf("%s: %q", c.why, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a:1", "[::1]:514", "tls://a:1?ca=x&cert=c&key=k", "file:///x", "stdout://", "tcp://u:p@h:1", "udp://%41:1", "file:///%00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		target, err := Parse(in)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("more than one line: %q", err)
			}
			return
		}
		_ = target.Warnings()
		if target.Scheme == "file" || strings.Contains(target.Address, "%") {
			return // a path, and the zone of an address, are escaped in a URL
		}
		options := target
		options.CA, options.Cert, options.Key = "", "", ""
		if again, err := Parse(target.String()); err != nil || again != options {
			t.Fatalf("%q is %+v, written as %s and read as %+v, %v", in, target, target, again, err)
		}
	})
}
