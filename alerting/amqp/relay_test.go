package amqp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"vft/alerting/amqp/amqptest"
)

// The directions of a relay.
const (
	toClient = 1 << iota
	toBrokerSide
	stalled // neither side is read, until release
)

// relay passes connections on to a broker, until it is told to hold what goes
// in a direction. What it holds is lost: the connections of that time never
// carry more.
type relay struct {
	address string

	mu   sync.Mutex // guards what follows
	held int
	goOn chan struct{} // closed by release
}

// newRelay starts a relay that ends with the test. With secure its clients
// speak TLS.
func newRelay(t *testing.T, broker string, secure *tls.Config) *relay {
	r := &relay{goOn: make(chan struct{})}
	var all sync.WaitGroup
	ended := make(chan struct{})
	r.address = listener(t, func(client net.Conn) {
		if secure != nil {
			client = tls.Server(client, secure)
		}
		server, err := net.Dial("tcp", broker)
		if err != nil {
			return
		}
		defer server.Close()
		done := make(chan struct{}, 2)
		all.Go(func() { r.copy(client, server, toClient); done <- struct{}{} })
		all.Go(func() { r.copy(server, client, toBrokerSide); done <- struct{}{} })
		select {
		case <-done:
		case <-ended:
		}
		_ = client.Close()
	})
	t.Cleanup(func() {
		r.release()
		close(ended)
	})
	return r
}

// copy carries one direction until either side ends it.
func (r *relay) copy(to io.Writer, from io.Reader, direction int) {
	b := make([]byte, 32<<10)
	lost := false
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		r.mu.Lock()
		lost = lost || r.held&direction != 0
		stall, goOn := r.held&stalled != 0, r.goOn
		r.mu.Unlock()
		if stall {
			<-goOn
		}
		if lost {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (r *relay) hold(directions int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = directions
}

func (r *relay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held&stalled != 0 {
		close(r.goOn)
		r.goOn = make(chan struct{})
	}
	r.held = 0
}

// through is the target of the broker behind a relay.
func through(t *testing.T, b *amqptest.Broker, r *relay) Target {
	to := target(t, b.URI)
	to.Address = r.address
	return to
}

// authority is a certificate that a server shows and a client may trust. file
// holds it in PEM.
type authority struct {
	server *tls.Config
	file   string
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, BasicConstraintsValid: true, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{file: filepath.Join(t.TempDir(), "ca.pem")}
	a.server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}
