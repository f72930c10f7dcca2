package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Lookup finds the process of a connection. What it asks the system for is
// bounded: all of /proc is read five times in a row at most, then once a second,
// also when every question is about a connection that is not there.
//
// A process that vft may not look into (of another user, without root or
// cap_sys_ptrace and cap_dac_read_search) is not found. Any goroutine may use a
// Lookup.
type Lookup struct {
	config Config

	mu     sync.Mutex // guards the rest
	diag   diag
	trace  *trace // nil: not running
	hold   holders
	about  describer
	recent recent
	tables map[string]table
	counts lookupCounts
}

type lookupCounts struct{ asked, found, traced, remembered, failed uint64 }

// table is what was read of one network namespace.
type table struct {
	byPort map[uint16][]socket // the local one
	read   time.Time
}

// New prepares a Lookup. Nothing is opened before it is asked or runs.
func New(c Config) *Lookup {
	c = c.withDefaults()
	return &Lookup{
		config: c,
		diag:   diag{dial: dialDiag},
		hold:   holders{proc: c.Proc, max: c.MaxSockets},
		about:  describer{proc: c.Proc},
		recent: recent{max: c.MaxRecent},
		tables: map[string]table{},
	}
}

// Check tells, for the method EBPF, whether this kernel and these privileges
// allow it. For every other method it returns nil.
func (l *Lookup) Check() error {
	if l.config.Method != EBPF {
		return nil
	}
	t, err := openTrace()
	if err != nil {
		return err
	}
	t.close()
	return nil
}

// Run remembers connections until ctx ends, so that Find knows them after they
// have ended: those that last longer than Config.Refresh, and with eBPF every
// TCP connection. It returns an error only when the method is EBPF and that is
// not possible; Auto says so in the log and goes on without.
func (l *Lookup) Run(ctx context.Context) error {
	if l.config.Method == Off {
		<-ctx.Done()
		return nil
	}
	var wait sync.WaitGroup
	defer wait.Wait()
	if l.config.Method != Netlink {
		t, err := openTrace()
		if err != nil && l.config.Method == EBPF {
			return err
		}
		if err != nil {
			l.config.Log.Info().Err(err).Msg("processes of connections shorter than a second may not be found")
		} else {
			l.setTrace(t)
			wait.Go(func() { t.follow(l.meet) })
			defer t.close()
			defer l.setTrace(nil)
		}
	}
	l.watch(ctx)
	return nil
}

func (l *Lookup) setTrace(t *trace) {
	l.mu.Lock()
	l.trace = t
	l.mu.Unlock()
}

// meet reads what a process is while it runs.
func (l *Lookup) meet(pid int) {
	l.mu.Lock()
	l.about.of(pid)
	l.mu.Unlock()
}

// watch looks at all connections time and again, in at most a twentieth of the
// time.
func (l *Lookup) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		start := time.Now()
		l.remember()
		timer.Reset(max(l.config.Refresh, 20*time.Since(start)))
	}
}

func (l *Lookup) remember() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.config.Now()
	for _, p := range []proto{tcp, udp} {
		sockets, err := l.every(p)
		if err != nil {
			l.counts.failed++
			continue
		}
		for _, s := range sockets {
			had, ok := l.recent.find(s.tuple)
			if s.inode == 0 || s.remote.Port() == 0 || ok && had.inode == s.inode {
				continue
			}
			if by := l.holder(s.inode, now); by != nil {
				l.recent.add(s.tuple, held{s.inode, by})
			}
		}
	}
}

// every lists the sockets of this network namespace.
func (l *Lookup) every(p proto) ([]socket, error) {
	var list []socket
	for s, err := range l.diag.all(p) {
		if err != nil {
			return l.hold.tables("self", p)
		}
		list = append(list, s)
	}
	return list, nil
}

// Find returns the process that holds, or held, the connection of local with
// remote. transport is "tcp" or "udp".
func (l *Lookup) Find(transport string, local, remote netip.AddrPort) (Process, bool) {
	p, known := transports[transport]
	if !known || l.config.Method == Off || !local.IsValid() || !remote.IsValid() {
		return Process{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.find(newTuple(p, local, remote))
}

// Either is Find for a connection of which either end may be on this host: a is
// tried first. second says that it is the process of b.
func (l *Lookup) Either(transport string, a, b netip.AddrPort) (p Process, second, ok bool) {
	if p, ok = l.Find(transport, a, b); ok {
		return p, false, true
	}
	p, ok = l.Find(transport, b, a)
	return p, ok, ok
}

func (l *Lookup) find(t tuple) (Process, bool) {
	now := l.config.Now()
	l.counts.asked++
	by := l.traced(t)
	if by == nil {
		by = l.holding(t, now)
	}
	if by == nil {
		if had, ok := l.recent.find(t); ok {
			by = had.by
			l.counts.remembered++
		}
	}
	if by == nil {
		by = l.elsewhere(t, now)
	}
	if by == nil {
		return Process{}, false
	}
	l.counts.found++
	return *by, true
}

// traced asks the program in the kernel.
func (l *Lookup) traced(t tuple) *Process {
	if l.trace == nil || t.proto != tcp {
		return nil
	}
	seen, ok := l.trace.find(t)
	if !ok {
		return nil
	}
	l.counts.traced++
	if is, ok := l.about.of(int(seen.PID)); ok && is.start <= seen.ticks() {
		return is.Process
	}
	return &Process{PID: int(seen.PID), Name: seen.name(), UID: seen.UID, User: l.about.user(seen.UID)}
}

// holding asks the kernel for the socket, and /proc for who has it.
func (l *Lookup) holding(t tuple, now time.Time) *Process {
	s, err := l.diag.one(t)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		l.counts.failed++
		if found := best(l.table("self", "self", t, now), t); found != nil {
			s, err = *found, nil
		}
	}
	if err != nil || s.inode == 0 {
		return nil
	}
	by := l.holder(s.inode, now)
	if by != nil {
		l.recent.add(t, held{s.inode, by})
	}
	return by
}

func (l *Lookup) holder(inode uint64, now time.Time) *Process {
	pid, ok := l.hold.of(inode, now)
	if !ok {
		return nil
	}
	is, ok := l.about.of(pid)
	if !ok {
		return nil
	}
	return is.Process
}

// elsewhere looks into the other network namespaces, where containers are.
func (l *Lookup) elsewhere(t tuple, now time.Time) *Process {
	for space, pid := range l.hold.namespaces(now) {
		s := best(l.table(space, strconv.Itoa(pid), t, now), t)
		if s == nil || s.inode == 0 || s.local.Addr().IsUnspecified() {
			continue // what waits on any address says nothing of whose address it is
		}
		if by := l.holder(s.inode, now); by != nil {
			return by
		}
	}
	return nil
}

// table returns the sockets on the local port of t in a network namespace, which
// the process of is in, at most a second old.
func (l *Lookup) table(space, of string, t tuple, now time.Time) []socket {
	key := space + " " + t.proto.String()
	if had, ok := l.tables[key]; ok && now.Sub(had.read) < time.Second && !now.Before(had.read) {
		return had.byPort[t.local.Port()]
	}
	if len(l.tables) >= 2*maxSpaces+2 {
		clear(l.tables)
	}
	sockets, err := l.hold.tables(of, t.proto)
	if err != nil {
		l.counts.failed++
	}
	byPort := map[uint16][]socket{}
	for _, s := range sockets {
		byPort[s.local.Port()] = append(byPort[s.local.Port()], s)
	}
	l.tables[key] = table{byPort, now}
	return byPort[t.local.Port()]
}

// List returns every TCP and UDP socket of this network namespace with the
// process that holds it, ordered by protocol, local and remote end.
func (l *Lookup) List(ctx context.Context) ([]Connection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.config.Now()
	var list []Connection
	for _, p := range []proto{tcp, udp} {
		sockets, err := l.every(p)
		if err != nil {
			return nil, fmt.Errorf("cannot list the %s connections: %w; is /proc mounted?", p, err)
		}
		for _, s := range sockets {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			c := Connection{Proto: p.String(), State: stateName(s.state), Local: s.local, Remote: s.remote}
			if s.inode != 0 && l.config.Method != Off {
				c.Process = l.holder(s.inode, now)
			}
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b Connection) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), a.Local.Compare(b.Local), a.Remote.Compare(b.Remote))
	})
	return list, nil
}

// Counts yields every counter.
func (l *Lookup) Counts(yield func(name string, n uint64)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	yield("process_asked", l.counts.asked)
	yield("process_found", l.counts.found)
	yield("process_found_traced", l.counts.traced)
	yield("process_found_remembered", l.counts.remembered)
	yield("process_system_errors", l.counts.failed)
	yield("process_proc_scans", l.hold.scans)
	yield("process_proc_scans_refused", l.hold.refused)
	yield("process_sockets_untracked", l.hold.left)
	yield("process_recent_evicted", l.recent.evicted)
}

// Close releases what Find and List opened. A Lookup can be used again.
func (l *Lookup) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.diag.close()
}
