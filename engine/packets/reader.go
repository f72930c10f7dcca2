package packets

import (
	"runtime"

	"vft/capture"
	"vft/pipeline"
)

// Sizes of what is on its way between the reader and the analyzers: 1 MB for each
// journal at most.
const (
	journals       = 8
	journalSteps   = 1 << 10
	journalSamples = 1 << 12
	batchPackets   = 1 << 10
	batchBytes     = 1 << 19
	batchAhead     = 32 // packets whose flows are looked up side by side
)

// reader carries packets from the source to the analyzers. It fills batches,
// counts the packets and keeps the flows; what comes of it stands in journals.
type reader struct {
	line    *pipeline.Line[journal]
	open    *journal       // that is written
	batch   *capture.Batch // that is filled
	counted int            // packets of it
	batches []*capture.Batch
	used    int // batches so far
}

// shards is how many goroutines share the work.
func (e *Engine) shards() int {
	if n := e.settings.Shards; n > 0 {
		return n
	}
	if e.live != nil {
		return 1
	}
	return min(2, runtime.GOMAXPROCS(0))
}

// runPipeline calls feed with the handler for its packets, ends what is open and
// returns when all is judged and delivered.
func (e *Engine) runPipeline(feed func(capture.LiveHandler)) {
	n := e.shards()
	ahead := journals
	if n == 1 { // nothing may wait for a journal to come
		ahead = 1
	}
	all := make([]*journal, ahead)
	for i := range all {
		all[i] = &journal{steps: make([]step, 0, journalSteps)}
	}
	e.batches = make([]*capture.Batch, ahead) // each journal may be about another one
	for i := range e.batches {
		e.batches[i] = capture.NewBatch(batchPackets, batchBytes, e.settings.Inner)
	}
	e.line = pipeline.New(n, all, e.stages()...)
	e.line.Run(func() {
		e.open = e.line.Next()
		e.nextBatch()
		feed(capture.LiveHandler{Packet: e.collect, Tick: e.tick})
		e.count()
		e.shard.Close()
		e.addStep(stepClose, 0)
		e.line.Put()
	})
	e.reader = reader{}
}

// collect takes a packet into the batch.
func (e *Engine) collect(p *capture.Packet) {
	if !e.batch.Fits(p) {
		e.count()
		e.submit()
		e.nextBatch()
	}
	e.batch.Add(p)
	if e.batch.Len()-e.counted == batchAhead {
		e.count()
	}
}

// tick is told that no packet before upTo will come.
func (e *Engine) tick(upTo int64) {
	e.count()
	e.shard.Advance(upTo)
	if !e.open.empty() {
		e.submit()
	}
}

// count counts the packets that were collected.
func (e *Engine) count() {
	b := e.batch
	e.shard.Ahead(b, e.counted)
	for ; e.counted < b.Len(); e.counted++ {
		e.measureDue(b.Times[e.counted])
		e.shard.Batched(b, e.counted)
	}
	e.open.to = e.counted
}

// submit gives the journal to the analyzers and begins another.
func (e *Engine) submit() {
	e.open.to = e.counted
	e.line.Put()
	e.open = e.line.Next()
	e.open.reset(e.batch, e.counted)
}

// nextBatch begins another batch, after submit: no journal is about it then.
func (e *Engine) nextBatch() {
	e.batch = e.batches[e.used%len(e.batches)]
	e.used++
	e.batch.Reset()
	e.counted = 0
	e.open.reset(e.batch, 0)
}

// addStep adds a step to the journal, to be filled before the next one.
func (e *Engine) addStep(kind stepKind, at int64) *step {
	if e.open.full() {
		e.submit()
	}
	j := e.open
	j.steps = j.steps[:len(j.steps)+1]
	s := &j.steps[len(j.steps)-1]
	s.kind, s.at, s.before = kind, at, e.counted-j.from
	return s
}
