package traps

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Hand is what the Dealer knows of one client. It is what a server keeps.
type Hand struct {
	Count   int      `json:"count"`             // how many it wants
	Ports   []uint16 `json:"ports"`             // dealt, ascending
	Refused []uint16 `json:"refused,omitempty"` // could not be bound there
}

// Dealer deals trap ports to the clients of a fleet so that each port stands
// on as many clients as every other: with a pool of 40 and 5 ports each, every
// port stands on two hosts from 16 clients on, so that a sweep of any single
// port meets two of them. A client keeps its ports; only a client that could
// not bind some, or one that Rebalance needs, is dealt others. It is a value of
// one goroutine; the same calls with the same random source deal the same.
type Dealer struct {
	pool   []uint16
	random *rand.Rand
	hands  map[string]Hand
}

// NewDealer returns a Dealer of the ports of pool. hands are those of an
// earlier Dealer, nil for none; ports that left the pool are taken out of them,
// and Deal fills them up.
func NewDealer(pool []uint16, hands map[string]Hand, random *rand.Rand) *Dealer {
	d := &Dealer{slices.Compact(slices.Sorted(slices.Values(pool))), random, map[string]Hand{}}
	for client, hand := range hands {
		d.hands[client] = Hand{hand.Count, d.valid(hand.Ports, hand.Count), d.valid(hand.Refused, len(d.pool))}
	}
	return d
}

// valid returns the first limit of ports that are in the pool, ascending, each
// once.
func (d *Dealer) valid(ports []uint16, limit int) []uint16 {
	good := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(ports))),
		func(port uint16) bool { return !slices.Contains(d.pool, port) })
	return good[:max(0, min(limit, len(good)))]
}

// Deal returns count ports for client: the same as before as far as that is
// enough, new ones for what is missing. They are fewer when client refused the
// rest of the pool.
func (d *Dealer) Deal(client string, count int) []uint16 {
	hand := d.hands[client]
	hand.Count = count
	hand.Ports = d.valid(hand.Ports, count)
	stand := d.stand()
	for len(hand.Ports) < count {
		port, ok := d.rarest(hand, stand)
		if !ok {
			break
		}
		hand.Ports = append(hand.Ports, port)
		stand[port]++
	}
	slices.Sort(hand.Ports)
	d.hands[client] = hand
	return slices.Clone(hand.Ports)
}

// Refuse notes that client could not bind ports and returns its ports then.
func (d *Dealer) Refuse(client string, ports []uint16) []uint16 {
	hand := d.hands[client]
	hand.Refused = d.valid(slices.Concat(hand.Refused, ports), len(d.pool))
	hand.Ports = slices.DeleteFunc(slices.Clone(hand.Ports), func(port uint16) bool {
		return slices.Contains(hand.Refused, port)
	})
	d.hands[client] = hand
	return d.Deal(client, hand.Count)
}

// Ports returns what client holds, and whether it was dealt anything.
func (d *Dealer) Ports(client string) (ports []uint16, dealt bool) {
	hand, dealt := d.hands[client]
	return slices.Clone(hand.Ports), dealt
}

// Forget takes the ports of client back.
func (d *Dealer) Forget(client string) { delete(d.hands, client) }

// Rebalance moves single ports until every port stands on two clients, as far
// as the number of clients and what they refused allow, and returns the clients
// whose ports changed. It takes only from ports that stand on three or more. Call
// it after a client refused ports or was forgotten for good.
func (d *Dealer) Rebalance() (changed []string) {
	moved := map[string]bool{}
	stand := d.stand()
	for _, port := range d.pool {
		for stand[port] < 2 {
			client, from, ok := d.giver(port, stand)
			if !ok {
				break
			}
			hand := d.hands[client]
			hand.Ports = slices.Clone(hand.Ports)
			hand.Ports[slices.Index(hand.Ports, from)] = port
			slices.Sort(hand.Ports)
			d.hands[client] = hand
			stand[from]--
			stand[port]++
			moved[client] = true
		}
	}
	return slices.Sorted(maps.Keys(moved))
}

// giver finds a client that can take port in exchange for the port from, the
// one that stands on the most clients of all such.
func (d *Dealer) giver(port uint16, stand map[uint16]int) (client string, from uint16, ok bool) {
	best := 2
	for _, name := range slices.Sorted(maps.Keys(d.hands)) {
		hand := d.hands[name]
		if slices.Contains(hand.Ports, port) || slices.Contains(hand.Refused, port) {
			continue
		}
		for _, held := range hand.Ports {
			if stand[held] > best {
				client, from, ok, best = name, held, true, stand[held]
			}
		}
	}
	return client, from, ok
}

// Hands returns a copy of the state, for NewDealer.
func (d *Dealer) Hands() map[string]Hand { return maps.Clone(d.hands) }

// stand counts the clients on which each port stands.
func (d *Dealer) stand() map[uint16]int {
	stand := map[uint16]int{}
	for _, hand := range d.hands {
		for _, port := range hand.Ports {
			stand[port]++
		}
	}
	return stand
}

// rarest returns a port that hand may take and that stands on the fewest
// clients, at random among equals.
func (d *Dealer) rarest(hand Hand, stand map[uint16]int) (port uint16, ok bool) {
	equals := 0
	for _, p := range d.pool {
		if slices.Contains(hand.Ports, p) || slices.Contains(hand.Refused, p) {
			continue
		}
		switch {
		case !ok || stand[p] < stand[port]:
			port, ok, equals = p, true, 1
		case stand[p] == stand[port]:
			equals++
			if d.random.IntN(equals) == 0 {
				port = p
			}
		}
	}
	return port, ok
}
