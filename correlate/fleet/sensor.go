package fleet

import (
	"strings"
	"time"

	"vft/event"
)

// Lost raises the incident of a client that is silent or whose traps do not
// report; why is one clause. A client that is lost already stays so. When very
// many are lost, one incident counts the rest.
func (f *Fleet) Lost(client string, at time.Time, why string) {
	if f.rules.Rule[SensorLost].Off || f.lost[client] != nil || f.missing[client] {
		return
	}
	f.newest = later(f.newest, at)
	if !f.limits.lost.take(f.newest, f.rules.RaisePerHour) {
		f.foldLost(client, at)
		return
	}
	i := f.begin(event.BySensor, client, at)
	f.lost[client] = i
	i.note, i.clients = strings.TrimSuffix(why, "."), []string{client}
	f.lose(i)
	f.write(i, at, event.Firing, "raised")
}

func (f *Fleet) foldLost(client string, at time.Time) {
	f.missing[client] = true
	i, fresh := f.folding(foldLost, at)
	i.end, i.changed = later(i.end, at), true
	i.clients = list(i.clients, client, maxListed)
	f.lose(i)
	f.tell(i, fresh, false)
}

// lose counts one lost client in i.
func (f *Fleet) lose(i *incident) {
	i.lost = true
	i.count++
	i.proof.level = event.E1 // a client proves who it is
	i.strongest, i.rank = SensorLost, f.weight(SensorLost, false, event.E1)
	i.match(SensorLost, event.Match{Value: float64(i.count), Threshold: 1, Since: i.start})
}

// Returned resolves the incident of a lost client.
func (f *Fleet) Returned(client string, at time.Time) {
	i, reason := f.lost[client], "the client is back"
	if f.missing[client] {
		delete(f.missing, client)
		if len(f.missing) > 0 {
			return
		}
		i, reason = f.folds[foldLost], "the clients are back"
	}
	if i != nil {
		f.newest = later(f.newest, at)
		i.end = later(i.end, at)
		f.resolve(i, f.newest, reason)
	}
}
