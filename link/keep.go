package link

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// What a server keeps in its data directory: certificate, secret, token. Every
// file here is readable by its owner only and written whole or not at all.

const certificateYears = 10

// LoadOrMakeCertificate returns the certificate of cert.pem and key.pem in dir.
// When there is none it makes one (ECDSA P-256, 10 years, signed by itself) for
// localhost and the names and addresses in hosts, and makes dir if it must.
func LoadOrMakeCertificate(dir string, hosts []string, now time.Time) (tls.Certificate, error) {
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	_, certErr := os.Stat(certFile)
	_, keyErr := os.Stat(keyFile)
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		if err := makeCertificate(certFile, keyFile, hosts, now); err != nil {
			return tls.Certificate{}, fmt.Errorf("cannot make a certificate in %s: %w", dir, err)
		}
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return cert, fmt.Errorf("cannot load %s and %s: %w; remove both to have new ones made (clients must then join again)", certFile, keyFile, err)
	}
	return cert, nil
}

// makeCertificate writes the key before the certificate, so that a certificate
// that is there always has its key.
func makeCertificate(certFile, keyFile string, hosts []string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	template, err := certificateTemplate(hosts, now)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	if err := writeFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})); err != nil {
		return err
	}
	return writeFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func certificateTemplate(hosts []string, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "vft"},
		// A client whose clock is behind must not find it too young.
		NotBefore:             now.Add(-24 * time.Hour),
		NotAfter:              now.AddDate(certificateYears, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
	}
	for _, host := range hosts {
		if a, err := netip.ParseAddr(host); err == nil {
			t.IPAddresses = append(t.IPAddresses, a.WithZone("").AsSlice())
		} else if isHost(host) && host != "localhost" {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	return t, nil
}

// LoadOrMakeSecret returns the secret in the file, which it makes (256 random
// bits, base64url) when there is none.
func LoadOrMakeSecret(file string) (string, error) { return loadOrMake(file, 32) }

// LoadOrMakeToken returns the enrolment token in the file, which it makes (128
// random bits, base64url) when there is none.
func LoadOrMakeToken(file string) (string, error) { return loadOrMake(file, 16) }

// ReadSecret returns the secret in the file, without white space around it.
func ReadSecret(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("cannot read the secret: %w", err)
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" {
		return "", fmt.Errorf("cannot read the secret: %s is empty", file)
	}
	return secret, nil
}

func loadOrMake(file string, size int) (string, error) {
	secret, err := ReadSecret(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	b := make([]byte, size)
	rand.Read(b) // never fails, see its documentation
	secret = encode(b)
	err = createFile(file, []byte(secret+"\n"))
	if errors.Is(err, fs.ErrExist) {
		return ReadSecret(file) // a client or server that started at the same moment made it
	}
	if err != nil {
		return "", fmt.Errorf("cannot write the secret: %w", err)
	}
	return secret, nil
}

// createFile makes the file, mode 0600, whole or not at all, unless it is
// there: of two processes that make it at once, one wins and both can tell.
func createFile(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	draft := fmt.Sprintf("%s.%s", file, rand.Text())
	if err := replaceFile(draft, data); err != nil {
		return err
	}
	defer os.Remove(draft)
	err := os.Link(draft, file)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return replaceFile(file, data) // a file system without links
}

// writeFile replaces the file by one of mode 0600 that holds data, whole or not
// at all, and makes its directory, mode 0700, if it must.
func writeFile(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return replaceFile(file, data)
}
