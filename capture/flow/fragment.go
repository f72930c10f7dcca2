package flow

import (
	"time"

	"vft/capture/packet"
)

const (
	fragmentPlaces = 1 << 12 // 4,096 unfinished packets, 256 KiB
	fragmentWays   = 4
	fragmentLife   = int64(30 * time.Second) // RFC 791 section 3.2 wants 15 s, RFC 8200 section 4.5 60 s at most
)

// fragments remembers the ports of first fragments for those that follow. Four
// places share a hash; the oldest of them makes room.
type fragments [fragmentPlaces]fragmentPorts

type fragmentPorts struct {
	src, dst     packet.Addr
	seen         int64
	id           uint32
	sport, dport uint16
	proto        uint8
	used         bool
}

// fragment puts the ports of the first fragment into the key of a later one, and
// reports whether it could.
func (t *Table) fragment(k *Key, p *packet.Parsed, now int64) (changed bool) {
	if t.cfg.SplitFragments {
		return false
	}
	if t.frags == nil {
		t.frags = new(fragments)
	}
	set := t.frags.set(k, p.ID, t.cfg.Seed)
	if p.FragOffset == 0 {
		if p.HasPorts && set.store(k, p.ID, now) {
			t.count.FragmentsForgot++
		}
		return false
	}
	if set.load(k, p.ID, now) {
		t.count.FragmentsJoined++
		return true
	}
	t.count.FragmentsAlone++
	return false
}

type fragmentSet []fragmentPorts

func (f *fragments) set(k *Key, id uint32, seed uint64) fragmentSet {
	whole := Key{Src: k.Src, Dst: k.Dst, Proto: k.Proto}
	at := (whole.Hash(seed^uint64(id)) % (fragmentPlaces / fragmentWays)) * fragmentWays
	return f[at : at+fragmentWays]
}

func (s fragmentSet) find(k *Key, id uint32) *fragmentPorts {
	for i := range s {
		if e := &s[i]; e.used && e.id == id && e.proto == k.Proto && e.src == k.Src && e.dst == k.Dst {
			return e
		}
	}
	return nil
}

// store remembers the ports of k and reports whether it had to forget others.
func (s fragmentSet) store(k *Key, id uint32, now int64) (forgot bool) {
	e := s.find(k, id)
	if e == nil {
		e = &s[0]
		for i := range s {
			if !s[i].used || e.used && s[i].seen < e.seen {
				e = &s[i]
			}
		}
		forgot = e.used && now-e.seen < fragmentLife
	}
	*e = fragmentPorts{k.Src, k.Dst, now, id, k.SrcPort, k.DstPort, k.Proto, true}
	return forgot
}

func (s fragmentSet) load(k *Key, id uint32, now int64) bool {
	e := s.find(k, id)
	if e == nil || now-e.seen > fragmentLife {
		return false
	}
	k.SrcPort, k.DstPort, k.Ports = e.sport, e.dport, true
	return true
}
