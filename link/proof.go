package link

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
)

// A proof shows knowledge of a key without sending it: an HMAC (RFC 2104), or
// for an identity an Ed25519 signature (RFC 8032), over a label that names the
// role and over a binding that only the two ends of this one connection share.
//
// With TLS the binding is keying material that both ends export (RFC 8446
// section 7.5, RFC 9266). One who stands between them with a certificate of
// his own has two TLS connections with two different exports, so a proof that
// he passes on is wrong at the other end.

const exporterLabel = "EXPORTER-vft-auth"

// The kinds of key. The client names the one it uses in its upgrade request,
// in the header Vft-Key: "secret", "token ID" or "identity ID".
type keyKind string

const (
	bySecret   keyKind = "secret"
	byToken    keyKind = "token"
	byIdentity keyKind = "identity"

	headerKey   = "Vft-Key"
	headerNonce = "Vft-Nonce" // plain text only
)

// The roles, so that no proof can be sent back to whom it came from.
const (
	roleServer   = "vft.v1 server"
	roleClient   = "vft.v1 client"
	roleIdentity = "vft.v1 identity"
)

const nonceSize = 32

// tlsBinding returns what only the two ends of a TLS connection know.
func tlsBinding(state tls.ConnectionState) ([]byte, error) {
	if state.Version != tls.VersionTLS13 {
		return nil, errors.New("the other side does not speak TLS 1.3")
	}
	return state.ExportKeyingMaterial(exporterLabel, nil, 32)
}

// plainBinding returns the binding of a connection without TLS. It makes every
// proof new, so none can be replayed, but it stops no relay: one who stands
// between passes both nonces on. That is why plain text is for loopback.
func plainBinding(clientNonce, serverNonce []byte) ([]byte, error) {
	if len(clientNonce) != nonceSize || len(serverNonce) != nonceSize {
		return nil, fmt.Errorf("a nonce is %d bytes", nonceSize)
	}
	return append(append([]byte("plain text"), clientNonce...), serverNonce...), nil
}

func newNonce() []byte {
	b := make([]byte, nonceSize)
	rand.Read(b) // never fails, see its documentation
	return b
}

// proof returns the proof that role knows key.
func proof(key, role string, kind keyKind, binding []byte) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(statement(role, kind, binding))
	return mac.Sum(nil)
}

// proven reports whether got is the proof that role knows key. An empty key
// proves nothing.
func proven(got []byte, key, role string, kind keyKind, binding []byte) bool {
	return key != "" && hmac.Equal(got, proof(key, role, kind, binding))
}

func sign(key ed25519.PrivateKey, binding []byte) []byte {
	return ed25519.Sign(key, statement(roleIdentity, byIdentity, binding))
}

func signed(signature []byte, key ed25519.PublicKey, binding []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, statement(roleIdentity, byIdentity, binding), signature)
}

// statement is what a proof is over. Neither role nor kind holds a zero byte,
// so two different statements never are the same bytes.
func statement(role string, kind keyKind, binding []byte) []byte {
	return append([]byte(role+"\x00"+string(kind)+"\x00"), binding...)
}

// TokenID returns the public name of an enrolment token: enough of its SHA-256
// to find it by, from which it cannot be found.
func TokenID(token string) string {
	sum := sha256.Sum256([]byte("vft.v1 token id\x00" + token))
	return encode(sum[:9])
}
