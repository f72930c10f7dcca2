package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/gorilla/websocket"
)

var (
	errTryOtherKey = errors.New("the server does not know this client any more; using the secret")
	errReplaced    = errors.New(byeReplaced)
)

// greeting is a connection of a client on its way to the welcome.
type greeting struct {
	client  *Client
	conn    net.Conn
	leaf    *x509.Certificate // of the server; nil in plain text
	nonce   []byte            // plain text only
	binding []byte
	key     key
	ws      *websocket.Conn
}

// key is what a client proves itself with.
type key struct {
	kind   keyKind
	id     string // token id, client id
	shared string // secret, token
}

// connect brings a connection from dial to welcome.
func (c *Client) connect(ctx context.Context) (*websocket.Conn, *welcomeFrame, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := c.cfg.Dial(ctx, "tcp", c.cfg.Server)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot connect to %s: %w; is the server running?", c.cfg.Server, err)
	}
	// Whatever step the time or the context ends in, closing wakes it up.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	// A stranger that answers for the server may not fill the memory.
	limited := &limitedConn{Conn: raw}
	limited.left.Store(2 * maxHello)
	g := &greeting{client: c, conn: limited}
	welcome, err := g.introduce(ctx)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, nil, err
	}
	limited.left.Store(noLimit)
	g.ws.SetReadLimit(maxFrame)
	return g.ws, welcome, nil
}

// introduce takes the steps of the handshake in their order.
func (g *greeting) introduce(ctx context.Context) (*welcomeFrame, error) {
	if err := g.encrypt(ctx); err != nil {
		return nil, err
	}
	var err error
	if g.key, err = g.chooseKey(); err != nil {
		return nil, err
	}
	if err := g.upgrade(ctx); err != nil {
		return nil, err
	}
	if err := g.prove(); err != nil {
		return nil, err
	}
	return g.hello()
}

// encrypt makes the connection TLS. Which certificate is trusted for what is
// decided after it, by chooseKey; nothing is sent to the server before.
func (g *greeting) encrypt(ctx context.Context) error {
	c := g.client
	if c.cfg.Plaintext {
		return nil
	}
	host, _, err := net.SplitHostPort(c.cfg.Server)
	if err != nil {
		return err
	}
	conn := tls.Client(g.conn, &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         host,
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: true,
		ClientSessionCache: c.sessions,
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		var notTLS tls.RecordHeaderError
		if errors.As(err, &notTLS) {
			return fmt.Errorf("%s does not speak TLS: is it a vft server, and not one with --ssl=false?", c.cfg.Server)
		}
		return fmt.Errorf("cannot speak TLS with %s: %w", c.cfg.Server, err)
	}
	state := conn.ConnectionState()
	g.conn, g.leaf = conn, state.PeerCertificates[0]
	g.binding, err = tlsBinding(state)
	return err
}

// chooseKey decides by the server's certificate what the client proves itself
// with, or that this server cannot be trusted.
func (g *greeting) chooseKey() (key, error) {
	c := g.client
	secret := c.cfg.Secret()
	if g.leaf == nil {
		return c.plainKey(secret)
	}
	pin := PinOf(g.leaf)
	if len(c.cfg.Trust) > 0 && !g.isTrusted() {
		return key{}, refusedf("the certificate of %s is neither the one of --cert nor signed by it; if the server has a new one, copy it here again", c.cfg.Server)
	}
	trusted := len(c.cfg.Trust) > 0
	id := c.identity
	if secret != "" && c.cfg.Insist {
		return key{kind: bySecret, shared: secret}, nil
	}
	if id.ID != "" && !c.strange && (trusted || id.Pin != nil && *id.Pin == pin) {
		return key{kind: byIdentity, id: id.ID}, nil
	}
	if secret != "" {
		return key{kind: bySecret, shared: secret}, nil
	}
	if join := c.cfg.Join; join != nil {
		if !trusted && join.Pin != pin {
			return key{}, refusedf("the certificate of %s is not the one of the join string: something between may pass itself off as the server (a relay), or the server has a new certificate; look at the server itself, and give --join the string that it prints when it starts", c.cfg.Server)
		}
		return key{kind: byToken, id: TokenID(join.Token), shared: join.Token}, nil
	}
	switch {
	case id.ID == "" || c.strange:
		return key{}, refusedf("nothing to prove this client to %s with: give --join with the string that the server prints when it starts, or --secret or --secret-file", c.cfg.Server)
	case g.systemTrusts():
		return key{kind: byIdentity, id: id.ID}, nil
	}
	return key{}, refusedf("the certificate of %s is not the one that this client enrolled with: something stands between, or the server has a new one; give --cert FILE, --join or --secret to trust it", c.cfg.Server)
}

// plainKey chooses what to prove with in plain text, where nothing but a shared
// key would tell the server from a stranger.
func (c *Client) plainKey(secret string) (key, error) {
	if secret != "" {
		return key{kind: bySecret, shared: secret}, nil
	}
	if c.cfg.Join != nil {
		return key{kind: byToken, id: TokenID(c.cfg.Join.Token), shared: c.cfg.Join.Token}, nil
	}
	return key{}, refusedf("nothing to prove this client to %s with: plain text needs --secret, --secret-file or --join", c.cfg.Server)
}

// isTrusted reports whether the server's certificate is one of --cert, or is
// signed by one and names the server.
func (g *greeting) isTrusted() bool {
	roots := x509.NewCertPool()
	for _, cert := range g.client.cfg.Trust {
		if cert.Equal(g.leaf) {
			return true
		}
		roots.AddCert(cert)
	}
	return g.verifies(roots)
}

func (g *greeting) systemTrusts() bool { return g.verifies(nil) }

func (g *greeting) verifies(roots *x509.CertPool) bool {
	host, _, _ := net.SplitHostPort(g.client.cfg.Server)
	chain := g.conn.(*tls.Conn).ConnectionState().PeerCertificates
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := g.leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between, CurrentTime: g.client.cfg.Now()})
	return err == nil
}

func (g *greeting) upgrade(ctx context.Context) error {
	c := g.client
	header := http.Header{headerKey: {strings.TrimSpace(string(g.key.kind) + " " + g.key.id)}}
	if g.leaf == nil {
		g.nonce = newNonce()
		header[headerNonce] = []string{encode(g.nonce)}
	}
	dialer := c.dialer
	dialer.NetDialContext = func(context.Context, string, string) (net.Conn, error) { return g.conn, nil }
	// ws: because the connection given is TLS already.
	ws, response, err := dialer.DialContext(ctx, "ws://"+c.cfg.Server+path, header)
	if err != nil {
		if response != nil {
			return fmt.Errorf("%s is not a vft server: it answers %.100q", c.cfg.Server, response.Status)
		}
		// The text of the error may hold all that a stranger said.
		return fmt.Errorf("cannot speak with %s: %.200s", c.cfg.Server, strconv.QuoteToASCII(err.Error()))
	}
	g.ws = ws
	g.ws.SetReadLimit(maxGreeting)
	return nil
}

// prove has the server prove itself, then proves the client.
func (g *greeting) prove() error {
	var theirs proofFrame
	if err := g.read("proof", &theirs); err != nil {
		return err
	}
	if g.leaf == nil {
		nonce, err := decode(theirs.Nonce)
		if err != nil {
			return g.refuse()
		}
		if g.binding, err = plainBinding(g.nonce, nonce); err != nil {
			return g.refuse()
		}
	}
	if g.key.kind == byIdentity {
		// The certificate proved the server.
		return g.write(proofFrame{Type: "proof", Proof: encode(sign(g.client.identity.key(), g.binding))})
	}
	got, err := decode(theirs.Proof)
	if err != nil || !proven(got, g.key.shared, roleServer, g.key.kind, g.binding) {
		return g.refuse()
	}
	return g.write(proofFrame{Type: "proof", Proof: encode(proof(g.key.shared, roleClient, g.key.kind, g.binding))})
}

// refuse tells a server that could not prove itself so, and no more.
func (g *greeting) refuse() error {
	_ = g.write(controlFrame{Type: "bye", Reason: byeAuthentication})
	return refusedf("%s: %s does not know the same %s, or something stands between", byeAuthentication, g.client.cfg.Server, g.key.kind)
}

// hello says who the client is and reads the welcome.
func (g *greeting) hello() (*welcomeFrame, error) {
	c := g.client
	hello := c.cfg.Hello()
	hello.Client, hello.Boot, hello.Time = c.identity.ID, c.boot, c.cfg.Now().UTC()
	hello.Hostname = hello.Hostname[:min(len(hello.Hostname), 255)]
	hello.Addresses = hello.Addresses[:min(len(hello.Addresses), maxPrefixes)]
	hello.Pool = hello.Pool[:min(len(hello.Pool), maxPorts)]
	hello.Traps = hello.Traps[:min(len(hello.Traps), maxPorts)]
	hello.Failed = hello.Failed[:min(len(hello.Failed), maxPorts)]
	frame := helloFrame{Type: "hello", Hello: hello}
	if g.key.kind != byIdentity {
		frame.Key = encode(c.identity.public())
		frame.Signature = encode(sign(c.identity.key(), g.binding))
	}
	if err := g.write(frame); err != nil {
		return nil, err
	}
	g.ws.SetReadLimit(maxHello)
	var welcome welcomeFrame
	if err := g.read("welcome", &welcome); err != nil {
		return nil, err
	}
	if welcome.Client == "" || len(welcome.Client) > 255 {
		return nil, fmt.Errorf("%s sent a welcome without a name for this client", c.cfg.Server)
	}
	return &welcome, nil
}

func (g *greeting) write(frame any) error {
	return g.ws.WriteMessage(websocket.TextMessage, marshal(frame))
}

// read reads the frame that is due, or learns why there will be none.
func (g *greeting) read(due string, frame any) error {
	kind, b, err := g.ws.ReadMessage()
	if err != nil {
		return fmt.Errorf("%s ended the handshake: %w", g.client.cfg.Server, err)
	}
	var control controlFrame
	if kind != websocket.TextMessage || json.Unmarshal(b, &control) != nil {
		return fmt.Errorf("%s sent something that is not a frame", g.client.cfg.Server)
	}
	switch control.Type {
	case due:
		return json.Unmarshal(b, frame)
	case "bye":
		return g.turnedAway(control.Reason)
	}
	return fmt.Errorf("%s sent a frame that is not due", g.client.cfg.Server)
}

// turnedAway returns what to do about a bye.
func (g *greeting) turnedAway(reason string) error {
	c := g.client
	if g.key.kind == byIdentity && (reason == byeUnknown || reason == byeAuthentication) {
		c.strange = true
		return errTryOtherKey
	}
	switch reason {
	case byeAuthentication, byeUnknown, byeRevoked:
		return refusedf("%s says: %s", c.cfg.Server, reason)
	}
	return fmt.Errorf("%s says: %.200q", c.cfg.Server, reason)
}

// limitedConn ends after so many bytes were read.
type limitedConn struct {
	net.Conn
	left atomic.Int64
}

const noLimit = -1

var errTooMuch = errors.New("too much was said before the welcome")

func (c *limitedConn) Read(b []byte) (int, error) {
	left := c.left.Load()
	if left == 0 {
		return 0, errTooMuch
	}
	if left > 0 {
		b = b[:min(len(b), int(left))]
	}
	n, err := c.Conn.Read(b)
	if left > 0 {
		c.left.CompareAndSwap(left, left-int64(n))
	}
	return n, err
}
