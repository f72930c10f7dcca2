package ecs

import (
	"vft/event"
)

const anomalyClass = `"kind":"event","category":["network","intrusion_detection"],"type":["info"]`

// anomaly writes that a statistic or a flow left its usual range, or is back.
func (r record) anomaly(e *event.Event, o Observer) record {
	a := e.Anomaly
	if a == nil {
		a = &event.Anomaly{}
	}
	r = r.event(e, o, anomalyClass).key("action").quote().raw("anomaly_").text(string(a.State)).quote()
	r = r.key("severity").int(int64(a.Severity)).key("start").time(a.Start).key("end").time(a.End).close()
	r = r.anomalyMessage(e, a)
	r = r.endpoint("source", e.Src, e.Transport).endpoint("destination", e.Dst, e.Transport)
	if a.Statistic == "" {
		r = r.key("network").open().path(e).key("bytes").uint(a.Bytes).communityOf(e).close()
	} else {
		r = r.network(e)
	}
	r = r.key("related").open().key("ip").relatedAll(e.Src.Addr(), e.Dst.Addr()).close()
	return r.key("vft").open().key("anomaly").episode(a).partOf(a.Incident).close()
}

func (r record) episode(a *event.Anomaly) record {
	r = r.open().key("detector").string(a.Detector).optional("statistic", a.Statistic)
	r = r.key("state").string(string(a.State)).key("value").float(a.Value).key("threshold").float(a.Threshold)
	r = r.key("probability").float(a.Probability).key("side").string(a.Side).key("window").seconds(a.Window)
	r = r.key("episode").string(a.Episode).key("count").uint(a.Count)
	if len(a.Methods) > 0 {
		r = sorted(r.key("methods"), a.Methods, record.float)
	}
	if len(a.Series) > 0 {
		r = r.key("series").array()
		for _, x := range a.Series {
			r = r.item().float(x)
		}
		r = r.endArray()
	}
	return r.optional("reason", a.Reason).close()
}

// anomalyMessage is like: R_SYN is unusually high: 0.9, threshold 0.5. Or:
// Transfer from 192.0.2.7 to 198.51.100.10 is usual again after 3 intervals.
func (r record) anomalyMessage(e *event.Event, a *event.Anomaly) record {
	r, given := r.message(e)
	if given {
		return r.quote()
	}
	if a.Statistic != "" {
		r = r.text(a.Statistic)
	} else {
		r = r.raw("Transfer from ").address(e.Src.Addr()).raw(" to ").address(e.Dst.Addr())
	}
	switch {
	case a.State == event.Resolved:
		r = r.raw(" is usual again after ").uint(a.Count).raw(plural(a.Count, " interval", " intervals"))
	case a.Statistic == "":
		r = r.raw(" is unusual: ").uint(a.Bytes).raw(" bytes in ").rounded(a.Window.Seconds())
		r = r.raw(" s, probability ").rounded(a.Probability)
	case a.Side == "down":
		r = r.raw(" is unusually low: ").rounded(a.Value).raw(", threshold ").rounded(a.Threshold)
	default:
		r = r.raw(" is unusually high: ").rounded(a.Value).raw(", threshold ").rounded(a.Threshold)
	}
	if e.Process != nil {
		r = r.tool(e.Process.Name)
	}
	return r.quote()
}
