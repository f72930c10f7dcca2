package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"vft/capture/packet"
)

// Live captures from network interfaces through TPACKET_V3 rings. It needs
// cap_net_raw and nothing else. Frames come as the interface has them: with
// their VLAN tag, with the link type of their interface (also under
// AnyInterface), and what the loopback interface carries once. Packets of one
// interface come in order of time, those of several interfaces up to
// two block timeouts apart.
//
// An interface that goes down or vanishes is waited for. Packets that segment
// offload joined are counted as the kernel shows them, as one.
type Live struct {
	config  LiveConfig
	filters filters
	reader  *reader
	kernel  ringCounts
	counts  liveCounts
}

// liveCounts is what a Live counts itself.
type liveCounts struct {
	delivered atomic.Uint64 // handed to a LiveHandler
	filtered  atomic.Uint64 // rejected by LiveFilter.Match
	tags      atomic.Uint64 // VLAN tags put back
	hardware  atomic.Uint64 // packets with the time of the network card
	down      atomic.Uint64 // times an interface went down
	lost      atomic.Uint64 // times an interface was gone
	back      atomic.Uint64 // times it was opened again
}

// NewLive prepares a capture. Nothing is opened.
func NewLive(c LiveConfig) *Live {
	return &Live{config: c.withDefaults()}
}

// Open opens every interface and begins to take packets, which wait in the
// rings for Run. An interface that cannot be opened gives an *OpenError; what
// the Filter of the configuration returns is returned as it is.
func (l *Live) Open() error {
	if err := l.config.check(); err != nil {
		return err
	}
	l.reader = &reader{live: l, config: &l.config}
	for number, name := range l.config.Interfaces {
		p := &port{name: name, number: number}
		l.reader.ports = append(l.reader.ports, p)
		if err := l.open(p); err != nil {
			l.Close()
			return err
		}
	}
	return nil
}

func (c *LiveConfig) check() error {
	if len(c.Interfaces) == 0 {
		return errors.New("cannot capture: no interface is named")
	}
	if len(c.Interfaces) > 1 && slices.Contains(c.Interfaces, AnyInterface) {
		return fmt.Errorf("cannot capture on %s: %q stands alone, it is all of them", strings.Join(c.Interfaces, ", "), AnyInterface)
	}
	for i, name := range c.Interfaces {
		if slices.Contains(c.Interfaces[:i], name) {
			return fmt.Errorf("cannot capture on %s twice: name it once", name)
		}
	}
	return nil
}

// Run calls the handler until ctx ends, then takes no new packet, hands over
// those that arrived before, which needs up to two block timeouts (at most 2 s),
// and closes everything. It opens what is not open yet. The end of ctx is no
// error.
func (l *Live) Run(ctx context.Context, to LiveHandler) error {
	if l.reader == nil {
		if err := l.Open(); err != nil {
			return err
		}
	}
	defer l.Close()
	l.reader.to = to
	return l.reader.run(ctx)
}

// ports are the interfaces; none before Open.
func (l *Live) ports() []*port {
	if l.reader == nil {
		return nil
	}
	return l.reader.ports
}

// Close ends a Live that was opened and does not run. Its counters stay.
func (l *Live) Close() {
	for _, p := range l.ports() {
		p.close()
	}
}

// Counts yields every counter: capture_received (by the kernel, past its
// filter; the sum of capture_delivered, capture_filtered, capture_dropped and
// what waits in the rings), capture_dropped (by the kernel, no room in the
// ring), capture_frozen (times the ring was full), capture_vlan_restored,
// capture_hardware_time, and what happened to interfaces. Any goroutine may ask.
func (l *Live) Counts(yield func(name string, n uint64)) {
	for _, p := range l.ports() {
		if ring := p.ring.Load(); ring != nil {
			ring.collect()
		}
	}
	yield("capture_received", l.kernel.received.Load())
	yield("capture_dropped", l.kernel.dropped.Load())
	yield("capture_frozen", l.kernel.frozen.Load())
	yield("capture_delivered", l.counts.delivered.Load())
	yield("capture_filtered", l.counts.filtered.Load())
	yield("capture_vlan_restored", l.counts.tags.Load())
	yield("capture_hardware_time", l.counts.hardware.Load())
	yield("capture_interface_down", l.counts.down.Load())
	yield("capture_interface_lost", l.counts.lost.Load())
	yield("capture_interface_back", l.counts.back.Load())
}

// port is one interface.
type port struct {
	name   string
	number int                  // in LiveConfig.Interfaces
	ring   atomic.Pointer[ring] // nil while the interface is gone; only the reader changes it
	judged packet.LinkType      // what the kernel filters itself; LinkSLL2: nothing
	exact  bool                 // tagged frames of it included
	down   bool
}

// open gives p a ring. No packet slips past the filter: the socket rejects
// everything until it is bound.
func (l *Live) open(p *port) error {
	index, link, err := lookUp(p.name)
	if err != nil {
		return err
	}
	filter, err := l.filters.get(l.config.Filter, link)
	if err != nil {
		return err
	}
	r, err := newRing(l.config.RingBytes, &l.config, &l.kernel)
	if err != nil {
		return openError(p.name, err)
	}
	if err := l.begin(p, r, index, program(filter, link, l.config.Snaplen)); err != nil {
		r.close()
		return openError(p.name, err)
	}
	p.judged = packet.LinkSLL2
	if judged(filter, link) {
		p.judged = link
	}
	p.exact = filter.Exact
	p.down = false
	p.ring.Store(r)
	return nil
}

func (l *Live) begin(p *port, r *ring, index int, program []bpf.RawInstruction) error {
	if err := r.attach(nothing()); err != nil {
		return err
	}
	if err := r.bind(index); err != nil {
		return err
	}
	if l.config.Promiscuous && index != 0 {
		if err := r.promiscuous(); err != nil {
			return err
		}
	}
	if l.config.HardwareTime && index != 0 {
		l.stampInHardware(r, p.name)
	}
	return r.attach(program)
}

// stampInHardware asks the network card to stamp what it receives. That needs
// cap_net_admin; without it the card may do so already.
func (l *Live) stampInHardware(r *ring, name string) {
	const everything = 1 // HWTSTAMP_FILTER_ALL
	err := unix.IoctlSetHwTstamp(r.fd, name, &unix.HwTstampConfig{Rx_filter: everything})
	if err != nil {
		l.config.Log.Info().Err(err).Str("interface", name).Msg("cannot turn hardware time stamps on; the kernel's are used where the card gives none")
	}
}

// close ends the ring of p. It needs no ring.
func (p *port) close() {
	if r := p.ring.Swap(nil); r != nil {
		r.close()
	}
}

// filters keeps the filter of each link type that was met.
type filters struct {
	mu   sync.Mutex // guards made
	made map[packet.LinkType]madeFilter
}

type madeFilter struct {
	LiveFilter
	err error
}

func (f *filters) get(compile func(packet.LinkType) (LiveFilter, error), link packet.LinkType) (LiveFilter, error) {
	if compile == nil {
		return LiveFilter{}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m, ok := f.made[link]
	if !ok {
		m.LiveFilter, m.err = compile(link)
		if f.made == nil {
			f.made = map[packet.LinkType]madeFilter{}
		}
		f.made[link] = m
	}
	return m.LiveFilter, m.err
}

// lookUp finds the index and the link type of an interface.
func lookUp(name string) (int, packet.LinkType, error) {
	if name == AnyInterface {
		return 0, packet.LinkEthernet, nil
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, 0, &OpenError{name, errors.New("no interface can have this name"), noInterface()}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, openError(name, err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, 0, openError(name, err)
	}
	index := int(request.Uint32())
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFHWADDR, request); err != nil {
		return 0, 0, openError(name, err)
	}
	return index, linkOf(request.Uint16()), nil
}

// openError says what a user can do about err.
func openError(name string, err error) error {
	switch {
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return &OpenError{name, errors.New("no such interface"), noInterface()}
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return &OpenError{name, err, "run as root, or once: setcap cap_net_raw+ep on the program"}
	case errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.ENOBUFS):
		return &OpenError{name, err, "use fewer interfaces or a smaller ring"}
	case errors.Is(err, syscall.EINVAL) && isDown(name):
		return &OpenError{name, syscall.ENETDOWN, "set it up, or use one shard"}
	}
	return &OpenError{name, err, "is AF_PACKET allowed here (container, seccomp)?"}
}

func isDown(name string) bool {
	i, err := net.InterfaceByName(name)
	return err == nil && i.Flags&net.FlagUp == 0
}
