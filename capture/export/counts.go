package export

// counter is an index of counts.
type counter uint8

const (
	datagrams counter = iota
	records
	optionRecords
	otherRecords
	unknownVersion
	shortHeader
	cutShort
	badSet
	badTemplate
	templatesWithdrawn
	templatesEvicted
	exportersEvicted
	pendingKept
	pendingDecoded
	pendingDropped
	pendingExpired
	tooManyRecords
	tooManyTemplates
	skewedClock
	badTime
	badCounter
	sflowCounterSamples
	sflowOtherSamples
	sflowNotIP
	sflowBadSamples
	counters
)

// counterNames are the labels of the counters; all but the first two and
// pending_decoded tell of something that did not become a record.
var counterNames = [counters]string{
	datagrams:           "datagrams",
	records:             "records",
	optionRecords:       "option_records",        // of options templates: sampling and other facts about the exporter
	otherRecords:        "other_records",         // of templates without addresses, and events that are no traffic
	unknownVersion:      "unknown_version",       // datagrams of no protocol known here
	shortHeader:         "short_header",          // datagrams shorter than the header of their protocol
	cutShort:            "cut_short",             // datagrams that state more than they hold; what is whole is decoded
	badSet:              "bad_set",               // sets with an impossible length; what follows in the datagram is left
	badTemplate:         "bad_template",          // templates without a field, of no size, too long, or cut
	templatesWithdrawn:  "templates_withdrawn",   // by an IPFIX exporter
	templatesEvicted:    "templates_evicted",     // because of MaxTemplates or MaxFields
	exportersEvicted:    "exporters_evicted",     // because of MaxExporters or MaxFields
	pendingKept:         "pending_kept",          // sets of data without their template, kept
	pendingDecoded:      "pending_decoded",       // of these, decoded later
	pendingDropped:      "pending_dropped",       // of all sets without a template, dropped because of MaxPending
	pendingExpired:      "pending_expired",       // of those kept, dropped because of PendingAge
	tooManyRecords:      "too_many_records",      // sets cut off at MaxRecords
	tooManyTemplates:    "too_many_templates",    // datagrams cut off behind MaxTemplates of them
	skewedClock:         "skewed_clock",          // times that an exporter's clock was found to be off by more than MaxSkew
	badTime:             "bad_time",              // records with times that cannot be: in the future of their datagram, or ends before starts
	badCounter:          "bad_counter",           // records whose packets or bytes were held to MaxCounter
	sflowCounterSamples: "sflow_counter_samples", // counters of interfaces, which are no flows
	sflowOtherSamples:   "sflow_other_samples",   // samples of other kinds
	sflowNotIP:          "sflow_not_ip",          // flow samples without the addresses of an IP packet
	sflowBadSamples:     "sflow_bad_samples",     // samples that are cut or contradict themselves
}

type counts [counters]uint64

// Counts yields every counter by name, in a fixed order.
func (d *Decoder) Counts(yield func(name string, value uint64)) {
	for i, name := range counterNames {
		yield(name, d.counts[i])
	}
}
