package modes

import (
	"crypto/tls"
	"net/netip"
	"path/filepath"
	"time"

	"vft/link"
	"vft/modes/config"
)

// checkTLS holds the flags about TLS against each other.
func checkTLS(v *config.Values) error {
	cert, key := v.Text("cert") != "", v.Text("key") != ""
	switch {
	case v.Bool("ssl") && v.Given("ssl") && !cert && !key:
		return v.Invalid("ssl", "needs --cert and --key; without --ssl the server makes its own certificate")
	case cert && !key:
		return v.Invalid("cert", "needs --key too: the private key of that certificate")
	case key && !cert:
		return v.Invalid("key", "needs --cert too: the certificate of that key")
	case cert && !v.Bool("ssl"):
		return v.Invalid("ssl", "says plain text, but --cert and --key ask for TLS; drop one of them")
	case !v.Bool("ssl") && !v.Bool("allow-plaintext") && !isLoopback(v.Text("bind")):
		return v.Invalid("ssl", "plain text on %s lets everybody read and forge reports; add --allow-plaintext if that is what you want", v.Text("bind"))
	}
	return nil
}

func isLoopback(hostport string) bool {
	host, _, err := config.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// loadCertificate reads --cert and --key, or makes and keeps an own one.
func (s *server) loadCertificate() error {
	if s.values.Text("cert") != "" {
		cert, err := readKeyPair(s.values)
		if err != nil {
			return err
		}
		s.cert.Store(&cert)
		return nil
	}
	hosts := []string{hostname()}
	for _, p := range ownAddresses() {
		hosts = append(hosts, p.Addr().String())
	}
	if host, _, err := config.SplitHostPort(s.values.Text("bind")); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	cert, err := link.LoadOrMakeCertificate(s.dir, append(hosts, "127.0.0.1", "::1"), time.Now())
	if err != nil {
		return cannotOpen(err)
	}
	s.cert.Store(&cert)
	return nil
}

// readKeyPair reads --cert and --key.
func readKeyPair(v *config.Values) (tls.Certificate, error) {
	certFile, keyFile := v.Text("cert"), v.Text("key")
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return cert, v.Invalid("cert", "cannot load %s and %s: %v; both must be PEM files that belong together", certFile, keyFile, err)
	}
	return cert, nil
}

// checkSecretFile reads --secret-file, when it counts.
func checkSecretFile(v *config.Values) error {
	file := v.Text("secret-file")
	if file == "" || v.Text("secret") != "" {
		return nil
	}
	if _, err := link.ReadSecret(file); err != nil {
		return v.Invalid("secret-file", "%v", err)
	}
	return nil
}

// serverSecret is --secret, what --secret-file holds, or what was made at the
// first start.
func serverSecret(v *config.Values, dir string) (string, error) {
	if secret := v.Text("secret"); secret != "" {
		return secret, nil
	}
	if file := v.Text("secret-file"); file != "" {
		secret, err := link.ReadSecret(file)
		if err != nil {
			return "", v.Invalid("secret-file", "%v", err)
		}
		return secret, nil
	}
	secret, err := link.LoadOrMakeSecret(filepath.Join(dir, "secret"))
	if err != nil {
		return "", cannotOpen(err)
	}
	return secret, nil
}
