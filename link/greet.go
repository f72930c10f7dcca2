package link

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// newcomer is a connection that has not proven itself.
type newcomer struct {
	server  *Server
	raw     net.Conn // as accepted
	conn    net.Conn // raw, or TLS over it
	ws      *websocket.Conn
	kind    keyKind
	keyID   string // token id or client id that the request names
	nonce   []byte // of the client, plain text only
	binding []byte
	member  *member // of an identity
}

var (
	errRequest    = errors.New("not a request for " + path + " with the subprotocol " + subprotocol)
	errTLSToPlain = errors.New("TLS where plain text is spoken")
)

// recordHandshake is the first byte that a TLS client sends (RFC 8446 section 5.1).
const recordHandshake = 22

// greet brings a connection from accept to welcome within the time allowed for
// it, and gives it to a goroutine of its own: this one's stack has grown in
// the handshake and ends with it, a client that idles keeps a small one.
func (s *Server) greet(ctx context.Context, raw net.Conn) {
	n := &newcomer{server: s, raw: raw, conn: raw}
	// One timer for the whole, because each layer sets and clears deadlines.
	guard := time.AfterFunc(s.cfg.Handshake, func() { raw.Close() })
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	session, what, err := n.introduce(ctx)
	stopped := guard.Stop()
	if stop(); err != nil || !stopped || ctx.Err() != nil {
		if ctx.Err() == nil {
			s.count(what).from(raw).log(err)
		}
		if session != nil {
			session.end("handshake took too long")
			return
		}
		n.leave(err)
		return
	}
	s.counts.add(sWelcomed, 1)
	s.work.Go(session.run)
}

// leave says bye, if the connection came so far, and closes it.
func (n *newcomer) leave(err error) {
	if n.ws != nil {
		reason := "the hello cannot be used"
		for _, known := range []error{errAuthentication, errUnknown, errRevoked, errRegistryFull, errRegistry} {
			if errors.Is(err, known) {
				reason = known.Error()
			}
		}
		n.ws.SetWriteDeadline(time.Now().Add(time.Second))
		_ = n.ws.WriteMessage(websocket.TextMessage, marshal(controlFrame{Type: "bye", Reason: reason}))
		n.ws.Close()
		return
	}
	n.conn.Close()
}

var errAuthentication = errors.New(byeAuthentication)

// introduce takes the steps of the handshake in their order. The counter says
// which of them failed.
func (n *newcomer) introduce(ctx context.Context) (*session, counter, error) {
	if err := n.encrypt(ctx); err != nil {
		return nil, sTLSFailed, err
	}
	if err := n.upgrade(); err != nil {
		return nil, sRequestRefused, err
	}
	if err := n.prove(); err != nil {
		if errors.Is(err, errRevoked) {
			return nil, sRevoked, err
		}
		return nil, sAuthFailed, err
	}
	hello, err := n.hello()
	if err != nil {
		return nil, sHelloRefused, err
	}
	if n.member == nil {
		n.member, err = n.server.registry.enrol(ed25519.PublicKey(hello.key), hello.Hostname)
	}
	switch {
	case errors.Is(err, errRevoked):
		return nil, sRevoked, err
	case errors.Is(err, errRegistryFull):
		return nil, sRegistryFull, err
	case err != nil:
		return nil, sRegistryErrors, fmt.Errorf("%w: %w", errRegistry, err)
	}
	session, err := n.server.welcome(n, hello.Hello)
	if errors.Is(err, errRevoked) {
		return nil, sRevoked, err
	}
	return session, sHelloRefused, err
}

func (n *newcomer) encrypt(ctx context.Context) error {
	if n.server.tls == nil {
		return nil
	}
	conn := tls.Server(n.raw, n.server.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	n.conn = conn
	binding, err := tlsBinding(conn.ConnectionState())
	n.binding = binding
	return err
}

// upgrade reads the one HTTP request of the connection and answers it.
func (n *newcomer) upgrade() error {
	reader := bufio.NewReader(io.LimitReader(n.conn, maxRequest))
	w := &upgradeWriter{conn: n.conn, reader: reader, header: http.Header{}}
	if first, _ := reader.Peek(1); len(first) == 1 && first[0] == recordHandshake {
		// An answer that is not TLS tells the client at once what is wrong.
		w.WriteHeader(http.StatusBadRequest)
		return errTLSToPlain
	}
	request, err := http.ReadRequest(reader)
	if err != nil {
		return errRequest
	}
	if request.URL.Path != path || !contains(websocket.Subprotocols(request), subprotocol) {
		refuseRequest(w, request, http.StatusNotFound, nil)
		return errRequest
	}
	kind, id, _ := strings.Cut(request.Header.Get(headerKey), " ")
	n.kind, n.keyID = keyKind(kind), id
	if n.nonce, err = decode(request.Header.Get(headerNonce)); err != nil {
		return errRequest
	}
	n.ws, err = n.server.upgrader.Upgrade(w, request, nil)
	if err != nil {
		return errRequest
	}
	n.ws.SetReadLimit(maxGreeting)
	return nil
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

// prove proves the server to the client, then has the client prove itself.
func (n *newcomer) prove() error {
	mine := proofFrame{Type: "proof"}
	if n.server.tls == nil {
		nonce := newNonce()
		binding, err := plainBinding(n.nonce, nonce)
		if err != nil {
			return err
		}
		n.binding, mine.Nonce = binding, encode(nonce)
	}
	key, public, err := n.key()
	if err != nil {
		return err
	}
	if n.kind != byIdentity {
		mine.Proof = encode(proof(key, roleServer, n.kind, n.binding))
	}
	if err := n.ws.WriteMessage(websocket.TextMessage, marshal(mine)); err != nil {
		return err
	}
	var theirs proofFrame
	if err := n.read(&theirs); err != nil {
		return fmt.Errorf("%w: no proof came: %w", errAuthentication, err)
	}
	got, err := decode(theirs.Proof)
	if err != nil || theirs.Type != "proof" {
		return errAuthentication
	}
	if n.kind == byIdentity && signed(got, public, n.binding) || n.kind != byIdentity && proven(got, key, roleClient, n.kind, n.binding) {
		return nil
	}
	return errAuthentication
}

// key returns what the client said it will prove itself with: a key that both
// know, or the public key of an identity. An identity needs TLS, where its
// owner knows the server by the certificate.
func (n *newcomer) key() (shared string, public ed25519.PublicKey, err error) {
	switch {
	case n.kind == bySecret && n.server.cfg.Secret != "":
		return n.server.cfg.Secret, nil, nil
	case n.kind == byToken:
		if token, known := n.server.cfg.Token(n.keyID); known && token != "" {
			return token, nil, nil
		}
	case n.kind == byIdentity && n.server.tls != nil:
		if n.member, err = n.server.registry.find(n.keyID); err != nil {
			return "", nil, err
		}
		return "", n.member.Key, nil
	}
	return "", nil, errAuthentication
}

type provenHello struct {
	Hello
	key []byte
}

// hello reads the hello. A client that will be enrolled proves in it that it
// holds the key of the identity that it wants.
func (n *newcomer) hello() (provenHello, error) {
	n.ws.SetReadLimit(maxHello)
	var frame helloFrame
	if err := n.read(&frame); err != nil {
		return provenHello{}, err
	}
	h := provenHello{Hello: frame.Hello}
	if frame.Type != "hello" || h.Boot == "" || len(h.Boot) > 64 || h.Time.IsZero() || len(h.Hostname) > 255 || len(h.Version) > 255 || h.Want < 0 {
		return h, errors.New("the hello lacks its boot or time, or a name is too long")
	}
	if len(h.Addresses) > maxPrefixes || len(h.Features) > maxPrefixes || max(len(h.Traps), len(h.Pool), len(h.Failed)) > maxPorts {
		return h, errors.New("the hello has a list that is too long")
	}
	if n.kind == byIdentity {
		return h, nil
	}
	key, err := decode(frame.Key)
	if err != nil {
		return h, errors.New("the hello has no key")
	}
	signature, err := decode(frame.Signature)
	if err != nil || !signed(signature, key, n.binding) {
		return h, errors.New("the hello is not signed by its key")
	}
	h.key = key
	return h, nil
}

func (n *newcomer) read(frame any) error {
	kind, b, err := n.ws.ReadMessage()
	if err != nil {
		return err
	}
	if kind != websocket.TextMessage || json.Unmarshal(b, frame) != nil {
		return errors.New("not a JSON text frame of the kind that is due")
	}
	return nil
}

// upgradeWriter is as much of an http.ResponseWriter as an Upgrader needs.
type upgradeWriter struct {
	conn   net.Conn
	reader *bufio.Reader
	header http.Header
}

func (w *upgradeWriter) Header() http.Header         { return w.header }
func (w *upgradeWriter) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader answers a request that is refused; there is no body.
func (w *upgradeWriter) WriteHeader(status int) {
	w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	fmt.Fprintf(w.conn, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", status, http.StatusText(status))
}

// Hijack gives the connection to the Upgrader.
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(w.reader, bufio.NewWriterSize(w.conn, 512)), nil
}

func refuseRequest(w http.ResponseWriter, _ *http.Request, status int, _ error) {
	w.WriteHeader(status)
}
