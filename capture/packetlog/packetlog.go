// Package packetlog keeps the packets of each flow in rotating pcapng files.
// When a flow alerts, its files move to an archive, and what follows goes there
// too; the files of a flow that ends without an alert are removed.
//
// Every file holds whole packets at any moment, also after the process was
// killed; after a loss of power it may not.
package packetlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/throttle"
)

// The defaults of Config.
const (
	DefaultMaxFile   = 1 << 20
	DefaultRotations = 10
	DefaultQuota     = 1 << 30
	DefaultMaxOpen   = 512
	DefaultMaxFlows  = 1 << 16
	DefaultLinger    = time.Minute
)

// Limits that are not set.
const (
	tick        = int64(time.Second) // of packet time, between two writes of what waits
	maxBuffered = 32 << 20           // bytes of packets in memory
	maxBatch    = 64 << 10           // bytes of a flow that are written before the tick
	maxNewFlows = 512                // first files of flows per tick
	maxCopied   = 64 << 20           // bytes per tick to rewrite files, for packets longer than a line
	maxRewrite  = 8 << 20            // a file that long is not rewritten; such a packet then begins a new one
	maxHost     = 256                // flows that ArchiveHost moves
	maxSpare    = 8                  // buffers kept for busy flows
	maxDevices  = 4                  // link types in one file
)

// Config says where a Log writes and how much. Zero values mean the defaults.
type Config struct {
	Dir       string        // of the flows that did not alert; for one Log alone. What an earlier run left there is removed
	Archive   string        // of those that did; "" is the directory archive in Dir
	MaxFile   int64         // bytes of one file; a single longer packet makes it longer
	Rotations int           // files of one flow; the oldest is removed
	Quota     int64         // bytes of all files, the archive included, each file in units of 4 KiB
	MaxOpen   int           // files open at once
	MaxFlows  int           // flows at once; the one that was quiet the longest is evicted
	Snaplen   int           // bytes kept of a packet; 0 keeps all
	Linger    time.Duration // packet time after the last alert of a flow for which its packets go to the archive

	Log zerolog.Logger
	Now func() time.Time // for the throttle of the log; nil: time.Now
}

// Log writes the packets of flows. One goroutine uses it, but for Counts.
type Log struct {
	cfg    Config
	flows  map[flow.Key]*logged // by Canonical; nil while not open
	recent *logged              // flow of the last packet
	plain  list                 // all flows, without those that alerted
	kept   list                 // all flows that alerted
	open   list                 // flows with an open file
	wait   list                 // flows with packets that are not written
	spare  [][]byte
	lock   *os.File

	now       int64 // the latest packet time told
	next      int64 // tick
	newFlows  int   // of maxNewFlows, left in this tick
	copied    int64 // of maxCopied, left in this tick
	relieved  bool  // relieve was tried in this tick
	buffered  int64 // bytes of the buffers of flows
	used      int64 // of the quota by files in Dir
	archived  int64 // of the quota by files in the archive
	lookAgain int64 // when a full archive is measured again

	count     counts
	lines     throttle.Throttle
	lastError error
}

// New returns a Log that is not open: it drops packets and counts them.
func New(cfg Config) *Log {
	cfg.MaxFile = max(orDefault(cfg.MaxFile, DefaultMaxFile), line)
	cfg.Rotations = orDefault(cfg.Rotations, DefaultRotations)
	cfg.Quota = orDefault(cfg.Quota, DefaultQuota)
	cfg.MaxOpen = orDefault(cfg.MaxOpen, DefaultMaxOpen)
	cfg.MaxFlows = orDefault(cfg.MaxFlows, DefaultMaxFlows)
	cfg.Linger = orDefault(cfg.Linger, DefaultLinger)
	cfg.Snaplen = max(cfg.Snaplen, 0)
	if cfg.Archive == "" {
		cfg.Archive = filepath.Join(cfg.Dir, "archive")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Log{
		cfg:   cfg,
		plain: list{at: byUse}, kept: list{at: byUse}, open: list{at: byWrite}, wait: list{at: byWait},
	}
}

func orDefault[T int | int64 | time.Duration](v, standard T) T {
	if v <= 0 {
		return standard
	}
	return v
}

// Open makes the directories, open to their owner alone, checks that they can be
// written to, and removes from Dir the files that a killed run left: their flows
// had not alerted. On Linux, Dir is locked against a second Log. Errors are one
// line.
func (l *Log) Open() error {
	if l.cfg.Dir == "" {
		return errors.New("cannot log packets: no directory is named for them; name one")
	}
	for _, dir := range []string{l.cfg.Dir, l.cfg.Archive} {
		if err := prepare(dir); err != nil {
			return err
		}
	}
	if same(l.cfg.Dir, l.cfg.Archive) {
		return fmt.Errorf("cannot archive packets in %s, where those of flows without alerts are removed; name another directory", l.cfg.Archive)
	}
	lock, err := lock(l.cfg.Dir)
	if err != nil {
		return err
	}
	if err := l.clear(); err != nil {
		lock.Close()
		return err
	}
	l.lock, l.flows = lock, map[flow.Key]*logged{}
	l.archived = diskUse(l.cfg.Archive)
	return nil
}

// clear removes what a killed run left.
func (l *Log) clear() error {
	removed, err := removeLeftovers(l.cfg.Dir, false)
	if err != nil {
		return err
	}
	if _, err := removeLeftovers(l.cfg.Archive, true); err != nil {
		return err
	}
	l.count.add(leftoversRemoved, removed)
	if removed > 0 {
		l.cfg.Log.Info().Int("files", removed).Str("dir", l.cfg.Dir).Msg("removed the packets of flows of an earlier run that did not alert")
	}
	return nil
}

func same(a, b string) bool {
	ia, errA := os.Stat(a)
	ib, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(ia, ib)
}

// Packet logs a packet of the flow that key or its reverse names. ts is in
// nanoseconds since 1970; wire is its length on the wire, data what was captured
// of it, which is not kept. It is in its file after about a second of packet
// time, or after Archive.
func (l *Log) Packet(key flow.Key, link packet.LinkType, ts int64, wire int, data []byte) {
	l.count.add(packetsSeen, 1)
	if l.flows == nil {
		l.count.add(droppedClosed, 1)
		return
	}
	l.Advance(ts)
	if l.buffered > maxBuffered && !l.relieve() {
		l.count.add(droppedMemory, 1)
		return
	}
	if n := l.cfg.Snaplen; n > 0 && len(data) > n {
		l.count.add(packetsCut, 1)
		wire, data = max(wire, len(data)), data[:n]
	}
	if link > maxLinkType {
		l.count.add(droppedLink, 1)
		return
	}
	l.put(l.flow(key, ts), link, record{ts: ts, wire: wire, data: data})
}

// flow returns the flow of a packet at ts, which may begin with it.
func (l *Log) flow(key flow.Key, ts int64) *logged {
	id := key.Canonical()
	f := l.recent
	if f == nil || f.id != id {
		f = l.flows[id]
	}
	if f != nil && f.alerted && ts > f.until {
		l.end(f, flowsEnded)
		f = nil
	}
	if f == nil {
		f = l.begin(id, key, ts)
	}
	l.users(f).touch(f)
	l.recent = f
	return f
}

func (l *Log) begin(id, key flow.Key, ts int64) *logged {
	for len(l.flows) >= l.cfg.MaxFlows {
		victim := l.plain.first
		if victim == nil {
			victim = l.kept.first
		}
		l.end(victim, flowsEvictedMax)
	}
	f := &logged{id: id, key: key, start: ts, fresh: true}
	l.flows[id] = f
	l.count.add(flowsStarted, 1)
	return f
}

// users is the one of the two lists of all flows that f is in.
func (l *Log) users(f *logged) *list {
	if f.alerted {
		return &l.kept
	}
	return &l.plain
}

// Advance tells the packet time in nanoseconds since 1970. After each second it
// writes what waits; a quiet source needs it.
func (l *Log) Advance(now int64) {
	if l.flows == nil {
		return
	}
	l.now = now
	if now < l.next && now >= l.next-2*tick { // times far back begin a new count of seconds
		return
	}
	l.next = now + tick
	l.newFlows, l.copied, l.relieved = maxNewFlows, maxCopied, false
	l.writeWaiting()
	l.gauges()
}

func (l *Log) gauges() {
	l.count.set(flowsNow, int64(len(l.flows)))
	l.count.set(filesOpen, int64(l.open.len))
	l.count.set(bytesBuffered, l.buffered)
	l.count.set(bytesOnDisk, l.used+l.archived)
}

// Archive moves the files of the flow that key or its reverse names to the
// archive, because it alerted. What follows of it goes there for Linger after
// the last such call, or until the flow ends; of the files that it had, the
// newer half stays. Log the packet that alerted first.
func (l *Log) Archive(key flow.Key) {
	if f := l.flows[key.Canonical()]; f != nil {
		l.archive(f)
		return
	}
	l.count.add(archiveUnknown, 1)
}

// ArchiveHost archives the flows that host is an end of, at most the 256 that
// spoke last, for an alert about a host: a scan, a flood. It looks at every flow.
func (l *Log) ArchiveHost(host packet.Addr) {
	var found []*logged
	for f := l.plain.last; f != nil && len(found) < maxHost; f = l.plain.before(f) {
		if f.id.Src == host || f.id.Dst == host {
			found = append(found, f)
		}
	}
	for f := l.kept.last; f != nil; f = l.kept.before(f) {
		if f.id.Src == host || f.id.Dst == host {
			f.until = l.now + int64(l.cfg.Linger)
		}
	}
	for _, f := range found {
		if l.flows[f.id] == f { // else the one before it needed its room
			l.archive(f)
		}
	}
}

func (l *Log) archive(f *logged) {
	f.until = l.now + int64(l.cfg.Linger)
	if f.alerted {
		return
	}
	l.write(f)
	l.closeFile(f)
	l.plain.remove(f)
	f.alerted = true
	l.kept.touch(f)
	l.count.add(flowsArchived, 1)
	l.moveFiles(f)
}

// End tells that the flow that key or its reverse names has ended. Its files are
// removed, unless it alerted.
func (l *Log) End(key flow.Key) {
	if f := l.flows[key.Canonical()]; f != nil {
		l.end(f, flowsEnded)
	}
}

// end forgets a flow, with its files or without.
func (l *Log) end(f *logged, why counter) {
	if f.alerted {
		l.write(f)
	}
	l.count.add(packetsDiscarded, f.packets)
	l.closeFile(f)
	for len(f.files) > 0 && !f.alerted {
		l.removeOldest(f, filesRemoved)
	}
	l.buffered -= int64(cap(f.buf))
	l.wait.remove(f)
	l.users(f).remove(f)
	delete(l.flows, f.id)
	if l.recent == f {
		l.recent = nil
	}
	l.count.add(why, 1)
}

// Close ends all flows and lets the directory go. It returns an error when
// packets of flows that alerted could not be written then, or files not be
// removed. A Log that is not open stays so.
func (l *Log) Close() error {
	if l.flows == nil {
		return nil
	}
	before := l.count.failures()
	for _, flows := range []*list{&l.kept, &l.plain} {
		for flows.first != nil {
			l.end(flows.first, flowsEnded)
		}
	}
	l.gauges()
	l.flows = nil
	l.lock.Close()
	if n := l.count.failures() - before; n > 0 {
		return fmt.Errorf("cannot finish the packet log: %d errors; the last: %w", n, l.lastError)
	}
	return nil
}
