package siem

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

func TestListenerThatStartsLate(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	address := l.Addr().String()
	_ = l.Close()
	d, stop := start(t, Config{Target: tcpTarget(t, address)})
	d.Send(number(1))
	d.Send(append(number(2), '\n')) // a line end is not doubled
	until(t, "five failed attempts", func() bool { return count(d, "failures") >= 5 })
	l = listen(t, address)
	c := accept(t, l)
	r := bufio.NewReader(c)
	want(t, r, 1, 2)
	delivered(t, d, 2)
	if err := stop(); err != nil {
		t.Error(err)
	}
	wantEnd(t, r)
}

func TestListenerThatIsRestarted(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	address := l.Addr().String()
	d, stop := start(t, Config{Target: tcpTarget(t, address)})
	next := 0
	for range 4 {
		c := accept(t, l)
		r := bufio.NewReader(c)
		d.Send(number(next))
		want(t, r, next, next)
		delivered(t, d, uint64(next+1))
		_ = l.Close()
		failed := count(d, "failures")
		_ = c.Close()
		until(t, "the end noticed although nothing was sent", func() bool { return count(d, "failures") > failed })
		d.Send(number(next + 1))
		d.Send(number(next + 2))
		l = listen(t, address)
		c = accept(t, l)
		r = bufio.NewReader(c)
		want(t, r, next+1, next+2)
		delivered(t, d, uint64(next+3))
		_ = c.Close()
		next += 3
	}
	_ = l.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestResetsInTheMiddleOfTraffic reads a part of each connection and resets
// it, which throws away what its kernel had acknowledged and it had not read.
// Inside a connection no record is missing, none comes twice, none is torn; the
// next connection begins with records that came before or with the next one:
// nothing is lost.
func TestResetsInTheMiddleOfTraffic(t *testing.T) {
	const rounds, each = 10, 2000
	l := listen(t, "127.0.0.1:0")
	d := New(Config{Target: tcpTarget(t, l.Addr().String())})
	d.transport.(*stream).settle = time.Hour // every reset comes sooner
	run(t, d)
	last := -1
	for round := range rounds + 1 {
		for n := range each {
			d.Send(number(round*each + n))
		}
		c := accept(t, l)
		r := bufio.NewReader(c)
		more := func(lines int) bool { return lines < 100*(round+1) }
		if round == rounds {
			more = func(int) bool { return last < (rounds+1)*each-1 }
		}
		for lines := 0; more(lines); lines++ {
			n := readNumber(t, r)
			if n > last+1 || n != last+1 && lines > 0 {
				t.Fatalf("round %d: record %d came after %d", round, n, last)
			}
			last = n
		}
		if round == rounds {
			_ = c.CloseWrite() // in order: now all of it counts
			break
		}
		_ = c.SetLinger(0)
		_ = c.Close()
	}
	delivered(t, d, (rounds+1)*each)
}

// readNumber reads one record and returns its number.
func readNumber(t *testing.T, r *bufio.Reader) int {
	t.Helper()
	var record struct{ N int }
	line, err := r.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &record)
	}
	if err != nil {
		t.Fatalf("read %.40q: %v", line, err)
	}
	return record.N
}

func TestReaderThatNeverReads(t *testing.T) {
	const limit = 1 << 20
	l := listen(t, "127.0.0.1:0")
	d, stop := start(t, Config{Target: tcpTarget(t, l.Addr().String()), MaxBytes: limit, Drain: 50 * time.Millisecond})
	c := accept(t, l)
	_ = c.SetReadBuffer(4096)
	record := bytes.Repeat([]byte{'x'}, 10_000)
	for count(d, "dropped_queue_full") < 1000 {
		d.Send(record) // returns, or the test never ends
	}
	if queued := count(d, "queued") * uint64(len(record)); queued > limit {
		t.Errorf("%d bytes wait, limit %d", queued, limit)
	}
	if err := stop(); err == nil || !strings.Contains(err.Error(), "the time to stop was over") {
		t.Errorf("records were left, but Run returned %v", err)
	}
}

func TestStopDeliversWhatWaits(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	d, stop := start(t, Config{Target: tcpTarget(t, l.Addr().String()), Drain: patience})
	c := accept(t, l)
	for n := range 1000 {
		d.Send(number(n))
	}
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	r := bufio.NewReader(c)
	want(t, r, 0, 999)
	wantEnd(t, r)
	if err := <-ended; err != nil || count(d, "delivered") != 1000 {
		t.Errorf("%v, %d delivered", err, count(d, "delivered"))
	}
}

func TestMillionRecords(t *testing.T) {
	records := 1_000_000
	if testing.Short() {
		records = 50_000
	}
	l := listen(t, "127.0.0.1:0")
	d, stop := start(t, Config{Target: tcpTarget(t, l.Addr().String()), MaxRecords: records, MaxBytes: 256 << 20, Drain: patience})
	c := accept(t, l)
	go func() {
		for n := range records {
			d.Send(number(n))
		}
	}()
	r := bufio.NewReaderSize(c, 1<<20)
	want(t, r, 0, records-1)
	delivered(t, d, uint64(records))
	if err := stop(); err != nil {
		t.Error(err)
	}
	wantEnd(t, r)
}

// hidden is a connection whose kernel cannot be asked.
type hidden struct{ net.Conn }

func dialHidden(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := dial(ctx, network, address)
	return hidden{conn}, err
}

func TestGraceInPlaceOfAcknowledgements(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	now := make(chan time.Time, 1)
	now <- time.Unix(1000, 0)
	clock := func() time.Time { t := <-now; now <- t; return t }
	d := New(Config{Target: tcpTarget(t, l.Addr().String()), Dial: dialHidden, Now: clock})
	d.runner.Backoff.Most = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()

	c := accept(t, l)
	d.Send(number(1))
	want(t, bufio.NewReader(c), 1, 1)
	if n := count(d, "delivered"); n != 0 {
		t.Errorf("%d delivered before the grace was over", n)
	}
	_ = c.Close()
	c = accept(t, l)
	want(t, bufio.NewReader(c), 1, 1) // sent again: no one can say whether it had arrived
	<-now
	now <- time.Unix(1002, 0)
	delivered(t, d, 1)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDialError(t *testing.T) {
	refused := errors.New("refused")
	d := New(Config{Target: Target{Scheme: "tcp", Address: "a:1"}, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, refused }})
	if err := d.transport.session(context.Background(), nil, d.log); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
}

// BenchmarkTCP measures a record from Send to its acknowledgement over
// loopback, the reader included.
func BenchmarkTCP(b *testing.B) {
	l := listen(b, "127.0.0.1:0")
	d, _ := start(b, Config{Target: tcpTarget(b, l.Addr().String()), Drain: patience})
	c := accept(b, l)
	go func() {
		var room [1 << 16]byte
		for {
			if _, err := c.Read(room[:]); err != nil {
				return
			}
		}
	}()
	record := bytes.Repeat([]byte{'x'}, 1000)
	var sent uint64
	for b.Loop() {
		d.Send(record)
		if sent++; sent%1024 == 0 { // so that none is dropped
			until(b, "room", func() bool { return count(d, "queued") < 30_000 })
		}
	}
	delivered(b, d, sent)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/event")
	b.ReportMetric(5000, "limit-ns/event")
}
