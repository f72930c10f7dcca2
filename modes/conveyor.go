package modes

import (
	"runtime"

	"vft/capture"
	"vft/pipeline"
)

// Sizes of what is on its way between the reader and the lanes: 1 MB for each
// journal at most.
const (
	journals       = 8
	journalSteps   = 1 << 10
	journalSamples = 1 << 12
	batchPackets   = 1 << 10
	batchBytes     = 1 << 19
	batchAhead     = 32 // packets whose flows are looked up side by side
)

// conveyor carries packets from the reader to the lanes. The reader fills
// batches, counts the packets and keeps the flows; what comes of it stands in
// journals.
type conveyor struct {
	line    *pipeline.Line[journal]
	open    *journal       // that is written
	batch   *capture.Batch // that is filled
	counted int            // packets of it
	batches []*capture.Batch
	used    int // batches so far
}

// shards is how many goroutines share the work.
func (w *watcher) shards() int {
	if n := w.values.Int("shards"); n > 0 {
		return n
	}
	if w.live != nil {
		return 1
	}
	return min(2, runtime.GOMAXPROCS(0))
}

// through calls feed with the handler for its packets, ends what is open and
// returns when all is judged and told.
func (w *watcher) through(feed func(capture.LiveHandler)) {
	n := w.shards()
	ahead := journals
	if n == 1 { // nothing may wait for a journal to come
		ahead = 1
	}
	all := make([]*journal, ahead)
	for i := range all {
		all[i] = &journal{steps: make([]step, 0, journalSteps)}
	}
	w.batches = make([]*capture.Batch, ahead) // each journal may be about another one
	for i := range w.batches {
		w.batches[i] = capture.NewBatch(batchPackets, batchBytes, w.values.Bool("inner"))
	}
	w.line = pipeline.New(n, all, w.stages()...)
	w.line.Run(func() {
		w.open = w.line.Next()
		w.nextBatch()
		feed(capture.LiveHandler{Packet: w.collect, Tick: w.tick})
		w.count()
		w.shard.Close()
		w.begin(stepClose, 0)
		w.line.Put()
	})
	w.conveyor = conveyor{}
}

// collect takes a packet into the batch.
func (w *watcher) collect(p *capture.Packet) {
	if !w.batch.Fits(p) {
		w.count()
		w.handOver()
		w.nextBatch()
	}
	w.batch.Add(p)
	if w.batch.Len()-w.counted == batchAhead {
		w.count()
	}
}

// tick is told that no packet before upTo will come.
func (w *watcher) tick(upTo int64) {
	w.count()
	w.shard.Advance(upTo)
	if !w.open.empty() {
		w.handOver()
	}
}

// count counts the packets that were collected.
func (w *watcher) count() {
	b := w.batch
	w.shard.Ahead(b, w.counted)
	for ; w.counted < b.Len(); w.counted++ {
		w.measureDue(b.Times[w.counted])
		w.shard.Batched(b, w.counted)
	}
	w.open.to = w.counted
}

// handOver gives the journal to the lanes and begins another.
func (w *watcher) handOver() {
	w.open.to = w.counted
	w.line.Put()
	w.open = w.line.Next()
	w.open.reset(w.batch, w.counted)
}

// nextBatch begins another batch, after handOver: no journal is about it then.
func (w *watcher) nextBatch() {
	w.batch = w.batches[w.used%len(w.batches)]
	w.used++
	w.batch.Reset()
	w.counted = 0
	w.open.reset(w.batch, 0)
}

// begin adds a step to the journal, to be filled before the next one.
func (w *watcher) begin(kind stepKind, at int64) *step {
	if w.open.full() {
		w.handOver()
	}
	j := w.open
	j.steps = j.steps[:len(j.steps)+1]
	s := &j.steps[len(j.steps)-1]
	s.kind, s.at, s.before = kind, at, w.counted-j.from
	return s
}
