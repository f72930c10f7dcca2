package link

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Who may connect to whom, and what a refused client is told.
func TestTrust(t *testing.T) {
	ca, signed := authority(t, "127.0.0.1")
	_, elsewhere := authority(t, "192.0.2.7")
	for _, c := range []struct {
		name    string
		server  func(*ServerConfig)
		client  func(*rig, *ClientConfig)
		refused string // what the error says; empty: the client is welcome
		counted string // by the server
		why     string
	}{
		{name: "secret", why: "the secret proves both sides, whatever the certificate"},
		{
			name:    "wrong secret",
			client:  func(_ *rig, c *ClientConfig) { c.Secret = func() string { return "wrong" } },
			refused: byeAuthentication, counted: "refused_authentication", why: "the server proves the secret first, and does not",
		},
		{
			name:    "no secret",
			client:  func(_ *rig, c *ClientConfig) { c.Secret = nil },
			refused: "--join", why: "there is nothing to prove; the error says how to go on",
		},
		{
			name:    "a server without a secret",
			server:  func(s *ServerConfig) { s.Secret = "" },
			client:  func(_ *rig, c *ClientConfig) { c.Secret = func() string { return "anything" } },
			refused: byeAuthentication, counted: "refused_authentication", why: "an empty secret proves nothing",
		},
		{
			name:   "right certificate",
			client: func(r *rig, c *ClientConfig) { c.Trust = []*x509.Certificate{leaf(r.t, r.cert)} },
			why:    "exactly the one of --cert",
		},
		{
			name:    "wrong certificate",
			client:  func(_ *rig, c *ClientConfig) { c.Trust = []*x509.Certificate{ca} },
			refused: "--cert", why: "--cert counts even if the secret is right",
		},
		{
			name:    "right certificate, no key",
			client:  func(r *rig, c *ClientConfig) { c.Trust, c.Secret = []*x509.Certificate{leaf(r.t, r.cert)}, nil },
			refused: "--secret", why: "a certificate proves the server and not the client",
		},
		{
			name:   "certificate of an authority",
			server: func(s *ServerConfig) { s.Certificate = func() *tls.Certificate { return &signed } },
			client: func(r *rig, c *ClientConfig) { c.Trust = []*x509.Certificate{ca} },
			why:    "--cert may name who signed",
		},
		{
			name:    "authority's certificate of another host",
			server:  func(s *ServerConfig) { s.Certificate = func() *tls.Certificate { return &elsewhere } },
			client:  func(r *rig, c *ClientConfig) { c.Trust = []*x509.Certificate{ca} },
			refused: "--cert", why: "what an authority signed is trusted for its host only",
		},
		{
			name:   "join",
			client: func(r *rig, c *ClientConfig) { c.Secret, c.Join = nil, r.join() },
			why:    "pin and token are enough",
		},
		{
			name: "join with another pin",
			client: func(r *rig, c *ClientConfig) {
				c.Secret, c.Join = nil, r.join()
				c.Join.Pin[0]++
			},
			refused: "join string", why: "the token is for the server of the pin",
		},
		{
			name: "join with another token",
			client: func(r *rig, c *ClientConfig) {
				c.Secret, c.Join = nil, r.join()
				c.Join.Token = encode(make([]byte, 16))
			},
			refused: byeAuthentication, counted: "refused_authentication", why: "a token that was withdrawn",
		},
		{
			name:   "plain text",
			server: func(s *ServerConfig) { s.Certificate = nil },
			client: func(_ *rig, c *ClientConfig) { c.Plaintext = true },
			why:    "allowed where the modes allow it, with the secret",
		},
		{
			name:   "plain text, join",
			server: func(s *ServerConfig) { s.Certificate = nil },
			client: func(r *rig, c *ClientConfig) { c.Plaintext, c.Secret, c.Join = true, nil, r.join() },
			why:    "the token proves both sides too",
		},
		{
			name:    "plain text, wrong secret",
			server:  func(s *ServerConfig) { s.Certificate = nil },
			client:  func(_ *rig, c *ClientConfig) { c.Plaintext, c.Secret = true, func() string { return "wrong" } },
			refused: byeAuthentication, counted: "refused_authentication", why: "plain text is no licence",
		},
		{
			name:    "plain text, no key",
			server:  func(s *ServerConfig) { s.Certificate = nil },
			client:  func(_ *rig, c *ClientConfig) { c.Plaintext, c.Secret = true, nil },
			refused: "plain text needs --secret", why: "nothing would tell the server from a stranger",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.server)
			cfg := r.config()
			if c.client != nil {
				c.client(r, &cfg)
			}
			client := run(t, cfg)
			if c.refused == "" {
				client.connected()
				return
			}
			err := client.wait()
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: ended with %v, want %q", c.why, err, c.refused)
			}
			if c.counted != "" {
				eventually(t, "the server counted "+c.counted, func() bool { return r.count(c.counted) > 0 })
			}
			if n := r.count("welcomed"); n != 0 || len(r.hellos) > 0 || len(r.server.Clients()) > 0 {
				t.Errorf("%s: but it was welcomed", c.why)
			}
		})
	}
}

func (r *rig) join() *Join {
	r.t.Helper()
	j, err := ParseJoin(Join{Host: "127.0.0.1", Port: 1, Pin: PinOf(leaf(r.t, r.cert)), Token: r.token}.String())
	if err != nil {
		r.t.Fatal(err)
	}
	return &j
}

// What an enrolled client does when its server is no more what it was.
func TestEnrolledClientMeetsAChangedServer(t *testing.T) {
	for _, c := range []struct {
		name    string
		server  func(*testing.T, *rig)
		client  func(*rig, *ClientConfig)
		refused string
		why     string
	}{
		{name: "the same", why: "its identity is enough"},
		{name: "new certificate", server: newCertificate, refused: "enrolled with", why: "it may be another server"},
		{
			name: "new certificate and the secret", server: newCertificate,
			client: func(r *rig, c *ClientConfig) { c.Secret = func() string { return r.cfg.Secret } },
			why:    "the secret proves the server again",
		},
		{
			name: "new certificate in --cert", server: newCertificate,
			client: func(r *rig, c *ClientConfig) { c.Trust = []*x509.Certificate{leaf(r.t, r.cert)} },
			why:    "the user trusts it",
		},
		{name: "lost its list", server: lostList, refused: "--join", why: "its identity is worth nothing there"},
		{
			name: "lost its list and the secret", server: lostList,
			client: func(r *rig, c *ClientConfig) { c.Secret = func() string { return r.cfg.Secret } },
			why:    "it enrols again",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			cfg := r.config()
			client := run(t, cfg).connected()
			id := client.Status().ID
			_ = client.stop()
			if c.server != nil {
				r.stop()
				c.server(t, r)
				r.start(r.addr)
			}
			cfg.Secret = nil
			if c.client != nil {
				c.client(r, &cfg)
			}
			client = run(t, cfg)
			if c.refused != "" {
				if err := client.wait(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%s: ended with %v, want %q", c.why, err, c.refused)
				}
				return
			}
			if got := client.connected().Status().ID; got != id {
				t.Errorf("%s: but it is called %q, not %q", c.why, got, id)
			}
		})
	}
}

func newCertificate(t *testing.T, r *rig) {
	cert, err := LoadOrMakeCertificate(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r.cert = cert
}

func lostList(t *testing.T, r *rig) {
	if err := os.Remove(filepath.Join(r.cfg.Dir, registryFile)); err != nil {
		t.Fatal(err)
	}
}

// A client that was welcomed never ends for what a server says later.
func TestWelcomedClientDoesNotEnd(t *testing.T) {
	r := newRig(t, nil)
	cfg := r.config()
	enrolled := run(t, cfg).connected()
	_ = enrolled.stop()
	cfg.Secret = nil
	c := run(t, cfg).connected()
	r.stop()
	kept, err := os.ReadFile(filepath.Join(r.cfg.Dir, registryFile))
	if err != nil {
		t.Fatal(err)
	}
	lostList(t, r)
	r.start(r.addr)
	eventually(t, "it was refused twice", func() bool { return counts(c.Counts)["refused"] > 1 })
	r.stop()
	if err := writeFile(filepath.Join(r.cfg.Dir, registryFile), kept); err != nil {
		t.Fatal(err)
	}
	r.start(r.addr)
	c.connected()
}

// The client comes first, the server makes its secret later.
func TestSecretMayComeLate(t *testing.T) {
	r := newRig(t, nil)
	r.stop()
	cfg := r.config()
	var mu sync.Mutex
	secret := ""
	cfg.Secret = func() string {
		mu.Lock()
		defer mu.Unlock()
		return secret
	}
	c := run(t, cfg)
	eventually(t, "it tried", func() bool { return counts(c.Counts)["connect_failed"] > 1 })
	mu.Lock()
	secret = r.cfg.Secret
	mu.Unlock()
	r.start(r.addr)
	c.connected()
}

// TLS and plain text never meet, and the client tries on.
func TestPlainTextAndTLSDoNotMeet(t *testing.T) {
	for _, plainServer := range []bool{true, false} {
		r := newRig(t, func(s *ServerConfig) {
			if plainServer {
				s.Certificate = nil
			}
		})
		cfg := r.config()
		cfg.Plaintext = !plainServer
		c := run(t, cfg)
		eventually(t, "it failed twice", func() bool { return counts(c.Counts)["connect_failed"] > 1 })
		if plainServer && !strings.Contains(r.log.String(), "does not speak TLS") {
			t.Error("the log does not say what is wrong")
		}
		if r.count("welcomed") != 0 {
			t.Error("but it was welcomed")
		}
		_ = c.stop()
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	r := newRig(t, nil)
	conn, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err == nil {
		conn.Close()
		t.Fatal("the server speaks TLS 1.2")
	}
	eventually(t, "it is counted", func() bool { return r.count("refused_tls") == 1 })
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{r.cert}, MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	cfg := r.config()
	cfg.Server = ln.Addr().String()
	c := NewClient(cfg)
	c.identity = newIdentity()
	if _, _, err := c.connect(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot speak TLS") {
		t.Errorf("the client ended with %v", err)
	}
}

// relay stands between client and server with a certificate of its own, and
// passes on every byte.
func relay(t *testing.T, server string) (addr string) {
	t.Helper()
	cert, err := LoadOrMakeCertificate(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	pass := func(victim net.Conn) {
		defer victim.Close()
		conn, err := tls.Dial("tcp", server, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer conn.Close()
		work.Go(func() {
			_, _ = io.Copy(conn, victim)
			conn.Close()
		})
		_, _ = io.Copy(victim, conn)
	}
	work.Go(func() {
		for {
			victim, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() { pass(victim) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		work.Wait()
	})
	return ln.Addr().String()
}

func TestRelayInTheMiddleIsRefusedByTheClient(t *testing.T) {
	r := newRig(t, nil)
	between := relay(t, r.addr)
	for name, change := range map[string]func(*ClientConfig){
		"secret": func(*ClientConfig) {},
		"join":   func(c *ClientConfig) { c.Secret, c.Join = nil, r.join() },
	} {
		cfg := r.config()
		cfg.Server = between
		change(&cfg)
		if err := run(t, cfg).wait(); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: ended with %v", name, err)
		}
	}
	// An enrolled client knows the server's certificate.
	cfg := r.config()
	c := run(t, cfg).connected()
	_ = c.stop()
	cfg.Secret, cfg.Server = nil, between
	if err := run(t, cfg).wait(); !errors.Is(err, ErrRefused) {
		t.Errorf("identity: ended with %v", err)
	}
	if n := r.count("welcomed"); n != 1 {
		t.Errorf("%d were welcomed", n)
	}
}

// A client that does not look at the server's proof, as if the relay had
// deceived it, is refused by the server: its proof is of another connection.
func TestRelayInTheMiddleIsRefusedByTheServer(t *testing.T) {
	r := newRig(t, nil)
	cfg := r.config()
	c := run(t, cfg).connected()
	enrolled := c.identity
	_ = c.stop()
	cfg.Server = relay(t, r.addr)
	for _, k := range []key{
		{kind: bySecret, shared: r.cfg.Secret},
		{kind: byToken, id: TokenID(r.token), shared: r.token},
		{kind: byIdentity, id: enrolled.ID},
	} {
		before := r.count("refused_authentication")
		client := NewClient(cfg)
		client.identity = enrolled
		raw, err := net.Dial("tcp", cfg.Server)
		if err != nil {
			t.Fatal(err)
		}
		g := &greeting{client: client, conn: raw, key: k}
		if err := g.encrypt(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := g.upgrade(t.Context()); err != nil {
			t.Fatal(err)
		}
		var theirs proofFrame
		if err := g.read("proof", &theirs); err != nil {
			t.Fatal(err)
		}
		mine := proofFrame{Type: "proof", Proof: encode(sign(enrolled.key(), g.binding))}
		if k.shared != "" {
			got, _ := decode(theirs.Proof)
			if proven(got, k.shared, roleServer, k.kind, g.binding) {
				t.Fatalf("%s: the relayed proof of the server is right", k.kind)
			}
			mine.Proof = encode(proof(k.shared, roleClient, k.kind, g.binding))
		}
		_ = g.write(mine)
		_ = g.write(helloFrame{Type: "hello", Hello: Hello{Boot: "b", Time: time.Now()}})
		if got := hear(t, g.ws, "bye"); got.Reason != byeAuthentication {
			t.Errorf("%s: bye because of %q", k.kind, got.Reason)
		}
		if r.count("refused_authentication") != before+1 {
			t.Errorf("%s: not counted", k.kind)
		}
		raw.Close()
	}
	if n := r.count("welcomed"); n != 1 {
		t.Errorf("%d were welcomed", n)
	}
}

// The server's proof sent back to it is no proof of the client.
func TestReflectedProofIsRefused(t *testing.T) {
	r := newRig(t, nil)
	ws, theirs := r.unproven()
	_ = ws.WriteJSON(theirs)
	if got := hear(t, ws, "bye"); got.Reason != byeAuthentication {
		t.Errorf("bye because of %q", got.Reason)
	}
}

// unproven is a connection on which the server has proven itself and the
// client has not.
func (r *rig) unproven() (*websocket.Conn, proofFrame) {
	r.t.Helper()
	client := NewClient(r.config())
	client.identity = newIdentity()
	raw, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	g := &greeting{client: client, conn: raw, key: key{kind: bySecret}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := errors.Join(g.encrypt(ctx), g.upgrade(ctx)); err != nil {
		r.t.Fatal(err)
	}
	var theirs proofFrame
	if err := g.read("proof", &theirs); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { g.ws.Close() })
	return g.ws, theirs
}

// A stranger gets one frame, the proof, whatever it says.
func TestNothingIsSaidBeforeTheProof(t *testing.T) {
	r := newRig(t, func(cfg *ServerConfig) { cfg.Handshake = 100 * time.Millisecond })
	ws, _ := r.unproven()
	kind, b, err := ws.ReadMessage()
	if err == nil {
		t.Errorf("the server said %d %s", kind, b)
	}
	eventually(t, "it is counted", func() bool { return r.count("refused_authentication") == 1 })
}

// authority makes a certificate authority and a certificate of host by it.
func authority(t *testing.T, host string) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template, err := certificateTemplate([]string{host}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(caDER)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
