package capture

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"vft/capture/packet"
)

const (
	longestPoll = 100 * time.Millisecond // so that Tick comes and ctx is seen
	retryAfter  = 500 * time.Millisecond // between looks for an interface that is gone
	longestEnd  = 2 * time.Second        // for what waits in the rings at the end
	tickMargin  = 50 * time.Millisecond  // clock and scheduling between a packet and its block
)

// reader walks the blocks of its ports on one goroutine.
type reader struct {
	live   *Live
	config *LiveConfig
	ports  []*port
	to     LiveHandler

	packet  Packet
	poll    []unix.PollFd
	polled  []*port
	looked  time.Time       // for interfaces that are gone
	matches packet.LinkType // what match is for
	match   func(data []byte, wire int) bool
}

// run reads until ctx ends and then what had arrived by then.
func (r *reader) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := r.turn(longestPoll); err != nil {
			return err
		}
	}
	for _, p := range r.ports {
		if ring := p.ring.Load(); ring != nil {
			if err := ring.attach(nothing()); err != nil {
				return fmt.Errorf("cannot end the capture on %s: %w", p.name, err)
			}
		}
	}
	end := r.config.Now().Add(min(r.lag(), longestEnd))
	for now := r.config.Now(); now.Before(end); now = r.config.Now() {
		if err := r.turn(min(end.Sub(now), longestPoll)); err != nil {
			return err
		}
	}
	return nil
}

// lag is how late a packet can come: the kernel closes a block that is not full
// at the second end of its timer.
func (r *reader) lag() time.Duration { return 2*r.config.BlockTimeout + tickMargin }

// turn waits for blocks, reads those that are ready and tells the time.
func (r *reader) turn(wait time.Duration) error {
	if err := r.wait(wait); err != nil {
		return err
	}
	now := r.config.Now()
	drained := true
	for _, p := range r.ports {
		if !r.drain(p) {
			drained = false
		}
	}
	r.revive(now)
	if drained && r.to.Tick != nil {
		r.to.Tick(now.Add(-r.lag()).UnixNano())
	}
	return nil
}

func (r *reader) wait(wait time.Duration) error {
	r.poll, r.polled = r.poll[:0], r.polled[:0]
	for _, p := range r.ports {
		if ring := p.ring.Load(); ring != nil {
			r.poll = append(r.poll, unix.PollFd{Fd: int32(ring.fd), Events: unix.POLLIN | unix.POLLERR})
			r.polled = append(r.polled, p)
		}
	}
	_, err := unix.Poll(r.poll, int((wait+time.Millisecond-1)/time.Millisecond))
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot wait for packets: %w", err)
	}
	for i, p := range r.polled {
		if r.poll[i].Revents&unix.POLLERR != 0 {
			r.fault(p)
		}
	}
	return nil
}

// drain reads the ready blocks of p, at most as many as the ring has, and
// reports whether none was left.
func (r *reader) drain(p *port) bool {
	ring := p.ring.Load()
	if ring == nil {
		return true
	}
	for range len(ring.memory) / ring.block {
		block, ready := ring.ready()
		if !ready {
			return true
		}
		r.walk(p, block)
		ring.release(block)
	}
	return false
}

// walk hands every packet of a block over.
func (r *reader) walk(p *port, block []byte) {
	h := header(block)
	at := h.Offset_to_first_pkt
	var tags, hardware, filtered uint64
	pkt := &r.packet
	pkt.Interface = p.number
	for range h.Num_pkts {
		frame := (*unix.Tpacket3Hdr)(unsafe.Pointer(&block[at]))
		tagged := unpack(block, at, frame, pkt, r.config.Snaplen)
		if tagged {
			tags++
		}
		if frame.Status&unix.TP_STATUS_TS_RAW_HARDWARE != 0 {
			hardware++
		}
		if (tagged && !p.exact || pkt.Link != p.judged) && r.config.Filter != nil && !r.passes(pkt) {
			filtered++
		} else {
			r.to.Packet(pkt)
		}
		at += frame.Next_offset
	}
	c := &r.live.counts
	c.delivered.Add(uint64(h.Num_pkts) - filtered)
	c.filtered.Add(filtered)
	c.tags.Add(tags)
	c.hardware.Add(hardware)
}

// passes runs the filter over what the kernel let through unseen. An expression
// that does not fit the link type matches nothing of it.
func (r *reader) passes(p *Packet) bool {
	if r.match == nil || r.matches != p.Link {
		r.matches, r.match = p.Link, func([]byte, int) bool { return false }
		if filter, err := r.live.filters.get(r.config.Filter, p.Link); err == nil {
			r.match = filter.Match
		}
	}
	return r.match(p.Data, p.Wire)
}

// fault takes the error off the socket of p, which says that the interface went
// down. The kernel goes on by itself when the same interface is up again.
func (r *reader) fault(p *port) {
	ring := p.ring.Load()
	code, err := unix.GetsockoptInt(ring.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || code == 0 {
		return
	}
	p.down = true
	r.tell(p, &r.live.counts.down, zerolog.WarnLevel, "interface went down; waiting for it")
}

// revive looks, twice a second, whether interfaces that went down are gone, and
// whether those that were gone are there again.
func (r *reader) revive(now time.Time) {
	if now.Sub(r.looked) < retryAfter {
		return
	}
	r.looked = now
	for _, p := range r.ports {
		if ring := p.ring.Load(); ring != nil && p.down {
			r.lookAgain(p, ring)
		} else if ring == nil {
			r.openAgain(p)
		}
	}
}

func (r *reader) lookAgain(p *port, ring *ring) {
	index, _, err := lookUp(p.name)
	switch {
	case err != nil || index != ring.index:
		r.drain(p)
		p.close()
		r.tell(p, &r.live.counts.lost, zerolog.WarnLevel, "interface is gone; waiting for it")
	case !isDown(p.name):
		p.down = false
		r.tell(p, &r.live.counts.back, zerolog.InfoLevel, "interface is up again")
	}
}

func (r *reader) openAgain(p *port) {
	if r.live.open(p) != nil {
		return
	}
	r.tell(p, &r.live.counts.back, zerolog.InfoLevel, "interface is there again")
}

// tell counts and logs what happened to an interface.
func (r *reader) tell(p *port, count *atomic.Uint64, level zerolog.Level, message string) {
	count.Add(1)
	r.config.Log.WithLevel(level).Str("interface", p.name).Msg(message)
}
