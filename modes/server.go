package modes

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	rules "vft/correlate/fleet"
	"vft/counters"
	"vft/datadir"
	"vft/engine/fleet"
	"vft/engine/flows"
	"vft/hostinfo"
	"vft/link"
	"vft/modes/settings"
	"vft/siem"
)

// server is the running graph of `vft server`.
type server struct {
	deps
	dir      string
	counters counters.Registry
	rules    atomic.Pointer[rules.Rules]
	cert     atomic.Pointer[tls.Certificate]
	out      *siem.Destination
	writer   *recordWriter
	fleet    *fleet.Correlator
	clients  *fleet.Server
	link     *link.Server

	collector *flows.Collector // nil when no flows are collected
}

// runServer is `vft server`.
func runServer(ctx context.Context, p deps) error {
	if p.settings.Replay() {
		return replayFlows(ctx, p)
	}
	s, err := newServer(p)
	if err != nil {
		return err
	}
	if err := datadir.Make(s.dir); err != nil {
		return cannotOpen(err)
	}
	unlock, err := datadir.Lock(s.dir, "server.lock", "is another vft server running?")
	if err != nil {
		return cannotOpen(err)
	}
	defer unlock()
	ln, err := s.open()
	if err != nil {
		return err
	}
	return s.run(ctx, ln)
}

// newServer checks the settings and builds what needs no secret; it opens
// nothing.
func newServer(p deps) (*server, error) {
	s := &server{deps: p}
	if err := checkTrust(p.settings); err != nil {
		return nil, err
	}
	r, err := loadRules(p.settings)
	if err != nil {
		return nil, err
	}
	s.rules.Store(&r)
	if s.dir, err = p.dataDir(); err != nil {
		return nil, err
	}
	s.out = siem.New(siem.Config{
		Target: siem.Target{Scheme: "stdout"}, Stdout: p.streams.Out, Log: s.log, Random: newRandom().Float64,
		OnDrop: func(dropped uint64) {
			s.log.Warn().Uint64("dropped", dropped).Msg("records were dropped: who reads stdout is too slow")
		},
	})
	s.writer = newRecordWriter(p.build, []*siem.Destination{s.out})
	s.fleet = newCorrelator(r, seed(), true, s.writer)
	return s, s.buildFlows()
}

// open makes what the clients trust and binds the addresses.
func (s *server) open() (net.Listener, error) {
	if err := s.buildLink(); err != nil {
		return nil, err
	}
	if err := s.link.Check(); err != nil {
		return nil, cannotOpen(err)
	}
	ln, err := link.Listen(s.settings.Server.Bind)
	if err != nil {
		return nil, cannotOpen(err)
	}
	if s.collector != nil {
		if err := openCollector(s.collector, s.log); err != nil {
			_ = ln.Close()
			return nil, err
		}
	}
	s.announce(ln.Addr())
	return ln, nil
}

// run serves until ctx ends or a part fails, then ends the parts in order:
// first the link, then what writes.
func (s *server) run(ctx context.Context, ln net.Listener) error {
	var g group
	serving, stop := context.WithCancel(ctx)
	defer stop()
	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriting()
	g.start(stop, func() error { return s.out.Run(writing) })
	if s.writer.notify != nil {
		g.start(func() {}, func() error { return s.writer.notify.Run(writing) })
	}
	g.start(stop, func() error {
		defer stopWriting()
		var inner group
		inner.start(stop, func() error { return s.link.Serve(serving, ln) })
		inner.start(stop, func() error { return s.clients.Run(serving, s.link.Clients) })
		if s.collector != nil {
			inner.start(stop, func() error { return s.collector.Run(serving) })
		}
		err := inner.wait()
		s.clients.Save()
		return err
	})
	defer onReload(func() { s.reloadWith(s.prepare) })()
	err := g.waitAfter(serving)
	logCounters(&s.counters, s.log.Info)
	return err
}

// buildLink builds the server's end of the link, with secret, token and
// certificate, which are made at the first start.
func (s *server) buildLink() error {
	secret, err := serverSecret(s.settings, s.dir)
	if err != nil {
		return err
	}
	token, err := link.LoadOrMakeToken(filepath.Join(s.dir, "token"))
	if err != nil {
		return cannotOpen(err)
	}
	warnShort(s.log, "the secret", secret)
	warnShort(s.log, "the token of the join string", token)
	of := s.settings.Fleet
	of.Dir, of.Now, of.Random, of.Log = s.dir, time.Now, newRandom(), s.log
	s.clients = fleet.NewServer(of, s.fleet)
	config := link.ServerConfig{
		Secret: secret, Dir: s.dir, Log: s.log, Interval: of.Heartbeat,
		Token:     func(id string) (string, bool) { return token, id == link.TokenID(token) },
		Hello:     s.clients.Hello,
		Accept:    s.clients.Accept,
		Heartbeat: s.clients.Heartbeat,
		Gone:      s.clients.Gone,
		Ignore:    func() []netip.Prefix { return ignoredSources(s.rules.Load()) },
	}
	if s.settings.Link.TLS {
		cert, err := s.certificate(s.settings)
		if err != nil {
			return err
		}
		s.cert.Store(cert)
		config.Certificate = s.cert.Load
	}
	s.link = link.NewServer(config)
	s.addCounters()
	return nil
}

// addCounters registers the counters of all parts.
func (s *server) addCounters() {
	s.counters.Add("link", s.link.Counts)
	addRuleCounters(&s.counters, s.fleet, &s.rules)
	if s.collector != nil {
		s.collector.AddCounters(&s.counters)
	}
	s.counters.Add("stdout", s.out.Counts)
	if s.writer.notify != nil {
		s.counters.Add("amqp", s.writer.notify.Counts)
	}
}

// ignoredSources are the sources whose hits count nowhere, which clients need
// not send.
func ignoredSources(r *rules.Rules) (all []netip.Prefix) {
	for _, g := range r.Ignore {
		if g.Source.IsValid() && g.Port == 0 && g.Client == "" && g.Tool == "" && g.Until.IsZero() {
			all = append(all, g.Source)
		}
	}
	return all
}

// announce says where clients connect and what to type there, whatever the
// log level is.
func (s *server) announce(addr net.Addr) {
	s.say().Str("address", addr.String()).Msgf("listening on %s", addr)
	cert := s.cert.Load()
	if cert == nil {
		s.say().Msg("plain text: clients need --ssl=false and the secret")
		return
	}
	token, err := link.ReadSecret(filepath.Join(s.dir, "token"))
	if err != nil || cert.Leaf == nil {
		return
	}
	bound := addr.(*net.TCPAddr)
	join := link.Join{Host: hostinfo.Reachable(bound.AddrPort().Addr()), Port: uint16(bound.Port), Pin: link.PinOf(cert.Leaf), Token: token}
	s.say().Msgf("on a client, type: vft client --join %s (its token lets a host enrol)", join)
}

// say starts a line of level info that is written at every --log-level.
func (s *server) say() *zerolog.Event {
	return s.log.Log().Str(zerolog.LevelFieldName, zerolog.LevelInfoValue)
}

// prepare checks what a running server takes of settings that were read again.
func (s *server) prepare(read *settings.Settings) (change func(), err error) {
	if err := checkTrust(read); err != nil {
		return nil, err
	}
	sensors, err := loadSensors(read)
	if err != nil {
		return nil, err
	}
	r, err := loadRules(read)
	if err != nil {
		return nil, err
	}
	cert := s.cert.Load()
	if cert != nil { // else the link is plain text until a restart
		if cert, err = s.certificate(read); err != nil {
			return nil, err
		}
	}
	return func() {
		s.cert.Store(cert)
		s.rules.Store(&r)
		s.fleet.SetRules(r)
		if s.collector != nil {
			s.collector.Reload(sensors)
		}
	}, nil
}
