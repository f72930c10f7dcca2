package traps

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"vft/event"
)

// vector makes a big-endian length of size bytes and the parts after it.
func vector(size int, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	length := binary.BigEndian.AppendUint64(nil, uint64(len(body)))
	return append(length[8-size:], body...)
}

func unhex(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, ",", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func extension(kind string, data []byte) []byte { return append(unhex(kind), vector(2, data)...) }

// chromeHello is a ClientHello with the ciphers, extensions and signature
// algorithms of the example in FoxIO's description of JA4, in another order and
// with GREASE.
func chromeHello() []byte {
	body := slices.Concat(unhex("0303"), make([]byte, 32), vector(1),
		vector(2, unhex("2a2a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035")),
		vector(1, []byte{0}),
		vector(2,
			extension("6a6a", nil),
			extension("0000", vector(2, []byte{0}, vector(2, []byte("example.com")))),
			extension("0017", nil), extension("ff01", []byte{0}), extension("000a", unhex("0002001d")),
			extension("000b", unhex("0100")), extension("0023", nil),
			extension("0010", vector(2, vector(1, []byte("h2")), vector(1, []byte("http/1.1")))),
			extension("0005", unhex("0100000000")),
			extension("000d", vector(2, unhex("0403,0804,0401,0503,0805,0501,0806,0601"))),
			extension("0012", nil), extension("0033", unhex("0000")), extension("002d", unhex("0101")),
			extension("002b", vector(1, unhex("8a8a,0304,0303"))), extension("001b", unhex("020002")),
			extension("4469", nil), extension("8a8a", []byte{0}), extension("0015", make([]byte, 20)),
		))
	return slices.Concat([]byte{1}, vector(3, body))
}

func record(message []byte) []byte { return slices.Concat(unhex("160301"), vector(2, message)) }

func TestJA4OfThePublishedExample(t *testing.T) {
	message := chromeHello()
	split := slices.Concat(record(message[:3]), record(message[3:100]), record(message[100:]))
	for _, c := range []struct {
		why     string
		payload []byte
	}{
		{"one record", record(message)},
		{"split over three records, the first inside the length", split},
		{"followed by another record", append(record(message), unhex("1403030001")...)},
	} {
		got, ok := ParseClientHello(c.payload)
		if !ok || got.JA4 != "t13d1516h2_8daaf6152771_e5627efa2ab1" || got.SNI != "example.com" ||
			got.Version != "1.3" || !slices.Equal(got.ALPN, []string{"h2", "http/1.1"}) {
			t.Errorf("%s: %v %+v", c.why, ok, got)
		}
	}
}

func TestJA4Parts(t *testing.T) {
	hello := func(version string, ciphers string, extensions ...[]byte) []byte {
		body := slices.Concat(unhex(version), make([]byte, 32), vector(1), vector(2, unhex(ciphers)), vector(1, []byte{0}))
		if extensions != nil {
			body = append(body, vector(2, extensions...)...)
		}
		return record(slices.Concat([]byte{1}, vector(3, body)))
	}
	alpn := func(name string) []byte { return extension("0010", vector(2, vector(1, []byte(name)))) }
	for _, c := range []struct {
		why, want, version, payloadName string
		payload                         []byte
	}{
		{"no extension at all: TLS 1.2, no name", "t12i010000_", "1.2", "", hello("0303", "c02f")},
		{"only GREASE ciphers count as none", "t12i000000_000000000000_000000000000", "1.2", "", hello("0303", "0a0a")},
		{"SSL 3", "ts3i010000_", "ssl3.0", "", hello("0300", "c02f")},
		{"a version nobody knows", "t00i010000_", "0x7f1c", "", hello("7f1c", "c02f")},
		{"a protocol of one letter stands twice", "t12i0101hh_", "1.2", "h", hello("0303", "c02f", alpn("h"))},
		{"a protocol that is no text gives its hex form", "t12i0101ab_", "1.2", `\xab`, hello("0303", "c02f", alpn("\xab"))},
		{"first and last character", "t12i0101h1_", "1.2", "http/1.1", hello("0303", "c02f", alpn("http/1.1"))},
	} {
		got, ok := ParseClientHello(c.payload)
		if !ok || !strings.HasPrefix(got.JA4, c.want) || got.Version != c.version || strings.Join(got.ALPN, ",") != c.payloadName {
			t.Errorf("%s: %v %+v, want %s", c.why, ok, got, c.want)
		}
	}
}

// TestClientHelloOfGo reads what crypto/tls sends.
func TestClientHelloOfGo(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		tls.Client(theirs, &tls.Config{ServerName: "trap.example", NextProtos: []string{"h2"}}).Handshake()
		theirs.Close()
	}()
	payload := readPayload(ours.Read, make([]byte, 4096))
	got, ok := ParseClientHello(payload)
	if !ok || got.SNI != "trap.example" || got.Version != "1.3" || !strings.HasPrefix(got.JA4, "t13d") || !strings.Contains(got.JA4, "h2_") {
		t.Errorf("%v %+v", ok, got)
	}
}

func TestClientHelloThatIsCut(t *testing.T) {
	whole := record(chromeHello())
	names := 0
	for n := range whole {
		got, ok := ParseClientHello(whole[:n])
		if got.JA4 != "" {
			t.Fatalf("%d bytes of %d gave a fingerprint", n, len(whole))
		}
		if complete(whole[:n]) {
			t.Fatalf("%d bytes of %d are taken for a whole hello", n, len(whole))
		}
		if ok && got.SNI == "example.com" {
			names++
		}
	}
	if names == 0 {
		t.Error("no cut hello gave the server name")
	}
}

// kexinit is the packet of an OpenSSH 7.9 client.
func kexinit() []byte {
	lists := []string{
		"curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256,diffie-hellman-group14-sha1,ext-info-c",
		"ssh-ed25519,ssh-rsa",
		"chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com", "aes128-ctr",
		"umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1", "hmac-sha1",
		"none,zlib@openssh.com,zlib", "none", "", "",
	}
	body := append([]byte{4, 20}, make([]byte, 16)...)
	for _, list := range lists {
		body = append(body, vector(4, []byte(list))...)
	}
	return vector(4, body, make([]byte, 5+4))
}

func TestSSH(t *testing.T) {
	packet := kexinit()
	for _, c := range []struct {
		why     string
		payload string
		want    event.SSH
		ok      bool
	}{
		{"banner and key exchange", "SSH-2.0-OpenSSH_7.9\r\n" + string(packet), event.SSH{Banner: "SSH-2.0-OpenSSH_7.9", HASSH: "ec7378c1a92f5a8dde7e8b7a1ddf33d1"}, true},
		{"banner alone", "SSH-2.0-Go\r\n", event.SSH{Banner: "SSH-2.0-Go"}, true},
		{"some end the line with LF only", "SSH-2.0-x\n" + string(packet), event.SSH{Banner: "SSH-2.0-x", HASSH: "ec7378c1a92f5a8dde7e8b7a1ddf33d1"}, true},
		{"no line end yet", "SSH-2.0-lib", event.SSH{Banner: "SSH-2.0-lib"}, true},
		{"key exchange cut", "SSH-2.0-x\r\n" + string(packet[:100]), event.SSH{Banner: "SSH-2.0-x"}, true},
		{"another packet", "SSH-2.0-x\r\n\x00\x00\x00\x03\x01\x15\x00", event.SSH{Banner: "SSH-2.0-x"}, true},
		{"a list longer than the packet", "SSH-2.0-x\r\n" + string(slices.Concat(packet[:22], unhex("ffffffff"), packet[26:])), event.SSH{Banner: "SSH-2.0-x"}, true},
		{"control characters must not reach a terminal", "SSH-\x1b[2J\r\n", event.SSH{Banner: `SSH-\x1b[2J`}, true},
		{"something else", "GET / HTTP/1.1\r\n", event.SSH{}, false},
	} {
		if got, ok := ParseSSH([]byte(c.payload)); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v %v", c.why, got, ok)
		}
	}
}

func TestCompletePayload(t *testing.T) {
	for _, c := range []struct {
		why, payload string
		want         bool
	}{
		{"nothing came", "", false},
		{"an HTTP request without its blank line", "GET / HTTP/1.1\r\nHost: a\r\n", false},
		{"a whole HTTP request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"a method that is not whole yet", "GE", false},
		{"an SSH banner: the key exchange may follow", "SSH-2.0-Go\r\n", false},
		{"banner and key exchange", "SSH-2.0-Go\r\n" + string(kexinit()), true},
		{"a TLS record that is not whole", "\x16\x03", false},
		{"22 alone may become TLS", "\x16", false},
		{"22 and not 3 is no TLS", "\x16\x09\x00", true},
		{"a telnet user", "root\r\n", true},
		{"binary", "\x00\x01", true},
	} {
		if got := complete([]byte(c.payload)); got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
}

func TestReadPayloadEnds(t *testing.T) {
	reader := func(parts ...string) func([]byte) (int, error) {
		return func(b []byte) (int, error) {
			if len(parts) == 0 {
				return 0, errors.New("deadline")
			}
			n := copy(b, parts[0])
			if parts[0] = parts[0][n:]; parts[0] == "" {
				parts = parts[1:]
			}
			return n, nil
		}
	}
	for _, c := range []struct {
		why   string
		parts []string
		limit int
		want  string
	}{
		{"silence", nil, 16, ""},
		{"the first bytes of an unknown protocol are enough", []string{"\x00abc", "def"}, 16, "\x00abc"},
		{"parts of a request are put together", []string{"GET ", "/ HTTP/1.0\r\n\r\n", "x"}, 64, "GET / HTTP/1.0\r\n\r\n"},
		{"what came before the deadline stays", []string{"SSH-2.0"}, 16, "SSH-2.0"},
		{"no more than the buffer takes", []string{"GET /aaaaaaaaaaaaaaaaaaaaaaaa"}, 8, "GET /aaa"},
	} {
		if got := readPayload(reader(c.parts...), make([]byte, c.limit)); string(got) != c.want {
			t.Errorf("%s: %q", c.why, got)
		}
	}
}

func TestPayloadTool(t *testing.T) {
	for _, c := range []struct{ payload, want, why string }{
		{"GET / HTTP/1.1\r\nUser-Agent: Mozilla/5.0 zgrab/0.x\r\n\r\n", "zgrab", "its default user agent"},
		{"GET /nice%20ports%2C/Tri%6Eity.txt%2ebak HTTP/1.0\r\n\r\n", "nmap", "FourOhFourRequest of nmap -sV"},
		{"GET / HTTP/1.0\r\nUser-Agent: ivre-masscan/1.3 https://github.com/\r\n\r\n", "masscan", "masscan --banners"},
		{"SSH-2.0-libssh_0.9.6\r\n", "libssh", "a library that bots use"},
		{"SSH-2.0-Go\r\n", "go-ssh", "golang.org/x/crypto/ssh"},
		{"I run SSH-2.0-Go", "", "a banner stands at the start"},
		{"GET / HTTP/1.1\r\nUser-Agent: Go-http-client/1.1\r\n\r\n", "go-http", "net/http"},
		{"GET / HTTP/1.1\r\nUser-Agent: Mozilla/5.0\r\n\r\n", "", "a browser says nothing of a tool"},
		{"", "", "silence"},
	} {
		if got := PayloadTool([]byte(c.payload)); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}

func FuzzParseClientHello(f *testing.F) {
	f.Add(record(chromeHello()))
	f.Add(record(chromeHello())[:120])
	f.Add(slices.Concat(record(chromeHello()[:50]), record(chromeHello()[50:])))
	f.Fuzz(func(t *testing.T, payload []byte) {
		before := slices.Clone(payload)
		got, ok := ParseClientHello(payload)
		if !slices.Equal(before, payload) {
			t.Fatal("the payload was changed")
		}
		if !ok && (got.JA4 != "" || got.SNI != "" || got.ALPN != nil) {
			t.Fatalf("no ClientHello gave %+v", got)
		}
		if got.JA4 != "" && (strings.Count(got.JA4, "_") != 2 || strings.IndexByte(got.JA4, '_') != 10 || len(got.JA4) != 36) {
			t.Fatalf("JA4 %q", got.JA4)
		}
		checkPrintable(t, append(got.ALPN, got.SNI)...)
		complete(payload)
	})
}

func FuzzParseSSH(f *testing.F) {
	f.Add([]byte("SSH-2.0-OpenSSH_7.9\r\n" + string(kexinit())))
	f.Add([]byte("SSH-2.0-x\n\x00\x00\x00\x02\x00\x14"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, ok := ParseSSH(payload)
		if ok != strings.HasPrefix(string(payload), "SSH-") || len(got.HASSH) != 0 && len(got.HASSH) != 32 || len(got.Banner) > 4*255 {
			t.Fatalf("%v %+v", ok, got)
		}
		checkPrintable(t, got.Banner)
		complete(payload)
	})
}

func checkPrintable(t *testing.T, texts ...string) {
	for _, text := range texts {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q would steer a terminal", text)
		}
	}
}
