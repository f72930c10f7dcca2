package modes

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"

	"vft/counters"
	"vft/datadir"
	"vft/engine/host"
	"vft/event"
	"vft/hostinfo"
	"vft/link"
	"vft/modes/settings"
)

// client is the running graph of `vft client`.
type client struct {
	deps
	base     string // the data directory
	dir      string // of this client's identity
	counters counters.Registry
	linking  link.ClientConfig
	host     *host.Traps
	link     *link.Client
	ignore   atomic.Pointer[[]netip.Prefix]
	ignored  atomic.Uint64
	watcher  *watcher // nil when no packets are watched
}

// runClient is `vft client`.
func runClient(ctx context.Context, p deps) error {
	if p.settings.ListConnections {
		return listConnections(ctx, p)
	}
	c, err := newClient(p)
	if err != nil {
		return err
	}
	if err := datadir.Make(c.base); err != nil {
		return cannotOpen(err)
	}
	dir, unlock, err := datadir.Identity(c.base)
	if err != nil {
		return cannotOpen(err)
	}
	defer unlock()
	if err := c.open(dir); err != nil {
		return err
	}
	return c.run(ctx)
}

// newClient checks the settings and builds what needs no identity; it opens
// nothing.
func newClient(p deps) (*client, error) {
	c := &client{deps: p}
	if p.settings.Replay() {
		return nil, errClientReplay(p.settings)
	}
	var err error
	if c.linking, err = c.linkConfig(); err != nil {
		return nil, err
	}
	if c.watcher, err = watcherIfAny(p.settings, c.log, c.level.debug, nil, func(e event.Event) { c.link.Emit(e) }); err != nil {
		return nil, err
	}
	if _, err = trapSettings(p.settings); err != nil {
		return nil, err
	}
	c.base, err = p.dataDir()
	return c, err
}

// open builds the rest with the identity in dir, and opens all.
func (c *client) open(dir string) (err error) {
	if err := c.buildLink(dir); err != nil {
		return err
	}
	if c.watcher != nil {
		if err := c.watcher.open(); err != nil {
			return err
		}
	}
	if err := c.link.Check(); err != nil {
		return cannotOpen(err)
	}
	c.host.Open()
	return nil
}

// buildLink builds traps and link with the identity in dir.
func (c *client) buildLink(dir string) (err error) {
	c.dir, c.linking.Dir = dir, dir
	c.linking.Secret = c.secret(c.base, c.linking.Server, c.linking.Join != nil)
	if c.linking.Secret != nil {
		warnShort(c.log, "the secret", c.linking.Secret())
	}
	if c.host, err = newTraps(c.settings, dir, c.log, c.emit); err != nil {
		return err
	}
	c.linking.OnDeal, c.linking.Traps = c.host.Deal, c.host.Ports
	c.linking.SelfTest, c.linking.Hello = c.host.SelfTest, c.hello
	c.link = link.NewClient(c.linking)
	if c.watcher != nil {
		c.watcher.AddCounters(&c.counters)
	}
	c.counters.Add("traps", c.host.Counts)
	c.counters.Add("traps", func(yield func(string, uint64)) { yield("ignored", c.ignored.Load()) })
	c.counters.Add("link", c.link.Counts)
	return nil
}

// run reports until ctx ends or the server refuses this client. The traps end
// first: what they saw last is still delivered.
func (c *client) run(ctx context.Context) error {
	var g group
	trapping, stop := context.WithCancel(ctx)
	defer stop()
	linking, stopLink := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLink()
	g.start(stop, func() error {
		defer stopLink()
		var inner group
		inner.start(stop, func() error { return c.host.Run(trapping) })
		if c.watcher != nil {
			inner.start(stop, func() error { return c.watcher.run(trapping, c.streams, c.dir) })
		}
		return inner.wait()
	})
	g.start(stop, func() error { return c.link.Run(linking) })
	defer onReload(func() { c.reloadWith(c.prepare) })()
	err := g.waitAfter(trapping)
	logCounters(&c.counters, c.log.Info)
	return err
}

// prepare checks what a running client takes of settings that were read again.
func (c *client) prepare(read *settings.Settings) (change func(), err error) {
	sensors, err := loadSensors(read)
	return func() {
		if c.watcher != nil {
			c.watcher.flows.Reload(sensors)
		}
	}, err
}

// emit hands a hit to the link, unless the server wants none of its source.
func (c *client) emit(e event.Event) {
	if prefixes := c.ignore.Load(); prefixes != nil {
		for _, p := range *prefixes {
			if p.Contains(e.Src.Addr()) {
				c.ignored.Add(1)
				return
			}
		}
	}
	c.link.Emit(e)
}

// linkConfig reads what the flags say of the server and how to trust it.
func (c *client) linkConfig() (link.ClientConfig, error) {
	v := c.settings
	out := link.ClientConfig{Server: v.Client.Server, Plaintext: !v.Link.TLS, Log: c.log}
	// Who gives a secret wants it tried, also where the server knows this client.
	out.Insist = v.Link.Secret != "" || v.Link.SecretFile != ""
	out.OnIgnore = func(all []netip.Prefix) { c.ignore.Store(&all) }
	if text := v.Client.Join; text != "" {
		join, err := link.ParseJoin(text)
		if err != nil {
			return out, v.Invalid(&v.Client.Join, "%v", err)
		}
		out.Join = &join
		if !v.Given(&v.Client.Server) {
			out.Server = join.Addr()
		}
	}
	if out.Plaintext && !v.Link.AllowPlaintext && !settings.IsLoopback(out.Server) {
		return out, v.Invalid(&v.Link.TLS, "plain text to %s lets everybody read and forge reports; add --allow-plaintext if that is what you want", out.Server)
	}
	if file := v.Link.Cert; file != "" {
		if out.Plaintext {
			return out, v.Invalid(&v.Link.TLS, "says plain text, but --cert asks for TLS; drop one of them")
		}
		var err error
		if out.Trust, err = readCertificates(file); err != nil {
			return out, v.Invalid(&v.Link.Cert, "%v", err)
		}
	}
	return out, checkSecretFile(v)
}

func errClientReplay(v *settings.Settings) error {
	return v.Invalid(&v.Packets.Files, "is for vft standalone; a client reports what happens now")
}

func readCertificates(file string) (all []*x509.Certificate, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %v; name a PEM file", file, pathReason(err))
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("cannot read the certificate in %s: %v", file, err)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no certificate in %s; name a PEM file", file)
	}
	return all, nil
}

// secret is --secret, what --secret-file holds, or the one in the data
// directory. For a server on this machine it is made when there is none: the
// server uses the same file, whoever comes first.
func (c *client) secret(dir, server string, joins bool) func() string {
	if secret := c.settings.Link.Secret; secret != "" {
		return func() string { return secret }
	}
	file := c.settings.Link.SecretFile
	if file == "" && joins {
		return nil
	}
	make := file == "" && settings.IsLoopback(server)
	if file == "" {
		file = filepath.Join(dir, "secret")
	}
	return func() string {
		read := link.ReadSecret
		if make {
			read = link.LoadOrMakeSecret
		}
		secret, err := read(file)
		if err != nil {
			return ""
		}
		return secret
	}
}

func (c *client) hello() link.Hello {
	open, failed := c.host.Ports()
	return link.Hello{
		Version: c.build.Version, Hostname: hostinfo.Name(), Addresses: hostinfo.Addresses(),
		Traps: open, Failed: failed, Want: c.host.Want(), Pool: c.settings.Traps.Pool,
		Features: []string{"traps"},
	}
}
