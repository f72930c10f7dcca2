package siem

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority makes certificates that it signs. path is its own in PEM.
type authority struct {
	t    *testing.T
	dir  string
	path string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.path, _ = a.issue("authority")
	return a
}

// issue writes a certificate for 127.0.0.1 and its key, and returns the files.
// The first is the authority's own.
func (a *authority) issue(name string) (cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: a.cert == nil,
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
	a.must(err)
	if a.cert == nil {
		a.key = private
		a.cert, err = x509.ParseCertificate(der)
		a.must(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	a.must(err)
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", secret)
}

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.dir, name)
	a.must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return path
}

func (a *authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// server returns the configuration of a TLS server with a certificate of a.
func (a *authority) server() *tls.Config {
	cert, key := a.issue("server")
	pair, err := tls.LoadX509KeyPair(cert, key)
	a.must(err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool}
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	l := listen(t, "127.0.0.1:0")
	cert, key := a.issue("client")
	target := tcpTarget(t, "tls://"+l.Addr().String()+"?ca="+a.path+"&cert="+cert+"&key="+key)
	d, stop := start(t, Config{Target: target, Drain: patience})
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	config := a.server()
	config.ClientAuth = tls.RequireAndVerifyClientCert
	c := tls.Server(accept(t, l), config)
	const records = 5000 // more than fit into one TLS record, or one chunk
	for n := range records {
		d.Send(number(n))
	}
	r := bufio.NewReader(c)
	want(t, r, 0, records-1)
	if err := stop(); err != nil {
		t.Error(err)
	}
	wantEnd(t, r)
	if n := count(d, "delivered"); n != records {
		t.Errorf("%d delivered, want %d", n, records)
	}
}

func TestTLSServerThatIsRestarted(t *testing.T) {
	a := newAuthority(t)
	l := listen(t, "127.0.0.1:0")
	d, _ := start(t, Config{Target: tcpTarget(t, "tls://"+l.Addr().String()+"?ca="+a.path)})
	config := a.server()
	for n := range 3 {
		d.Send(number(n))
		c := tls.Server(accept(t, l), config)
		want(t, bufio.NewReader(c), n, n)
		_ = c.Close()
		delivered(t, d, uint64(n+1))
	}
}

func TestTLSRefusals(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	for _, c := range []struct {
		why    string
		ca     string
		server func() *tls.Config
	}{
		{"the server's certificate is of another authority", ours.path, theirs.server},
		{"the server asks for a certificate that we do not have: after our side of the handshake is done", ours.path, func() *tls.Config {
			config := ours.server()
			config.ClientAuth = tls.RequireAndVerifyClientCert
			return config
		}},
	} {
		l := listen(t, "127.0.0.1:0")
		d, stop := start(t, Config{Target: tcpTarget(t, "tls://"+l.Addr().String()+"?ca="+c.ca), Drain: time.Millisecond})
		d.Send(number(1))
		config := c.server()
		for range 3 {
			conn := tls.Server(accept(t, l), config)
			if err := conn.Handshake(); err == nil {
				t.Errorf("%s: the handshake succeeded", c.why)
			}
			_ = conn.Close()
		}
		if n := count(d, "delivered"); n != 0 {
			t.Errorf("%s: the record counts as delivered", c.why)
		}
		_ = l.Close()
		if err := stop(); err == nil {
			t.Errorf("%s: Run returned no error", c.why)
		}
	}
}

func TestCheckTLS(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("client")
	other, _ := a.issue("other")
	for _, c := range []struct{ why, options, says string }{
		{"the system's authorities", "", ""},
		{"an own authority", "?ca=" + a.path, ""},
		{"a certificate and its key", "?cert=" + cert + "&key=" + key, ""},
		{"no such file", "?ca=/does/not/exist", "no such file"},
		{"a file without a certificate", "?ca=" + key, "no certificate"},
		{"a key of another certificate", "?cert=" + other + "&key=" + key, "match"},
	} {
		err := New(Config{Target: tcpTarget(t, "tls://127.0.0.1:1"+c.options)}).Check()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}
