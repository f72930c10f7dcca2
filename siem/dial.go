package siem

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"
)

// unheard is how long a peer may leave bytes unacknowledged, or its window
// closed, before the connection is given up for a new one.
const unheard = time.Minute

// dial connects as the net package does. A peer that vanished without a word
// is noticed within a minute.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		Timeout:         10 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 4},
		Control:         limitSilence,
	}
	return d.DialContext(ctx, network, address)
}

// tlsConfig makes the configuration of a tls destination from its files.
func tlsConfig(t Target) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(t.Address)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		ServerName: host,
		MinVersion: tls.VersionTLS12,
		// A write of up to maxTLS bytes is one TLS record: see flight.land.
		DynamicRecordSizingDisabled: true,
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
