package modes

import (
	"crypto/tls"
	"path/filepath"
	"time"

	"vft/hostinfo"
	"vft/link"
	"vft/modes/settings"
)

// checkTrust checks certificate and secret of a server, as far as they are given.
func checkTrust(s *settings.Settings) error {
	if err := checkTLS(s); err != nil {
		return err
	}
	if s.Link.Cert != "" {
		if _, err := readKeyPair(s); err != nil {
			return err
		}
	}
	return checkSecretFile(s)
}

// checkTLS holds the flags about TLS against each other.
func checkTLS(v *settings.Settings) error {
	cert, key := v.Link.Cert != "", v.Server.Key != ""
	switch {
	case v.Link.TLS && v.Given(&v.Link.TLS) && !cert && !key:
		return v.Invalid(&v.Link.TLS, "needs --cert and --key; without --ssl the server makes its own certificate")
	case cert && !key:
		return v.Invalid(&v.Link.Cert, "needs --key too: the private key of that certificate")
	case key && !cert:
		return v.Invalid(&v.Server.Key, "needs --cert too: the certificate of that key")
	case cert && !v.Link.TLS:
		return v.Invalid(&v.Link.TLS, "says plain text, but --cert and --key ask for TLS; drop one of them")
	case !v.Link.TLS && !v.Link.AllowPlaintext && !settings.IsLoopback(v.Server.Bind):
		return v.Invalid(&v.Link.TLS, "plain text on %s lets everybody read and forge reports; add --allow-plaintext if that is what you want", v.Server.Bind)
	}
	return nil
}

// certificate reads --cert and --key, or makes and keeps an own one.
func (s *server) certificate(from *settings.Settings) (*tls.Certificate, error) {
	if from.Link.Cert != "" {
		cert, err := readKeyPair(from)
		return &cert, err
	}
	hosts := []string{hostinfo.Name()}
	for _, p := range hostinfo.Addresses() {
		hosts = append(hosts, p.Addr().String())
	}
	if host, _, err := settings.SplitHostPort(from.Server.Bind); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	cert, err := link.LoadOrMakeCertificate(s.dir, append(hosts, "127.0.0.1", "::1"), time.Now())
	if err != nil {
		return nil, cannotOpen(err)
	}
	return &cert, nil
}

// readKeyPair reads --cert and --key.
func readKeyPair(v *settings.Settings) (tls.Certificate, error) {
	certFile, keyFile := v.Link.Cert, v.Server.Key
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return cert, v.Invalid(&v.Link.Cert, "cannot load %s and %s: %v; both must be PEM files that belong together", certFile, keyFile, err)
	}
	return cert, nil
}

// checkSecretFile reads --secret-file, when it counts.
func checkSecretFile(v *settings.Settings) error {
	file := v.Link.SecretFile
	if file == "" || v.Link.Secret != "" {
		return nil
	}
	if _, err := link.ReadSecret(file); err != nil {
		return v.Invalid(&v.Link.SecretFile, "%v", err)
	}
	return nil
}

// serverSecret is --secret, what --secret-file holds, or what was made at the
// first start.
func serverSecret(v *settings.Settings, dir string) (string, error) {
	if secret := v.Link.Secret; secret != "" {
		return secret, nil
	}
	if file := v.Link.SecretFile; file != "" {
		secret, err := link.ReadSecret(file)
		if err != nil {
			return "", v.Invalid(&v.Link.SecretFile, "%v", err)
		}
		return secret, nil
	}
	secret, err := link.LoadOrMakeSecret(filepath.Join(dir, "secret"))
	if err != nil {
		return "", cannotOpen(err)
	}
	return secret, nil
}
