package link

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vft/event"
)

func TestClockOffset(t *testing.T) {
	at := time.Unix(1e9, 0)
	for _, c := range []struct {
		samples []time.Duration // arrival less sending
		want    time.Duration
		why     string
	}{
		{nil, 0, "nothing is known"},
		{[]time.Duration{249 * time.Millisecond}, 0, "the network's delay"},
		{[]time.Duration{-249 * time.Millisecond}, 0, "a little ahead is equal too"},
		{[]time.Duration{300 * time.Millisecond}, 300 * time.Millisecond, "behind"},
		{[]time.Duration{-time.Hour}, -time.Hour, "ahead"},
		{[]time.Duration{9 * time.Second, 6 * time.Second, 8 * time.Second}, 6 * time.Second, "the smallest has the least delay in it"},
		{[]time.Duration{1 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second, 9 * time.Second},
			9 * time.Second, "a clock that was set back is believed after eight samples"},
	} {
		var clk clock
		for _, sample := range c.samples {
			clk.add(at, at.Add(sample))
		}
		if got := clk.offset(); got != c.want {
			t.Errorf("%s: offset %v, want %v", c.why, got, c.want)
		}
	}
}

func TestBucket(t *testing.T) {
	at := time.Unix(1e9, 0)
	var b bucket
	for i, step := range []struct {
		after   time.Duration
		n       int
		silence time.Duration
		ignored bool
		why     string
	}{
		{0, 100, 0, false, "the reserve"},
		{0, 5, 500 * time.Millisecond, false, "debt is paid by silence"},
		{500 * time.Millisecond, 0, 0, false, "and now it is paid"},
		{time.Hour, 101, 100 * time.Millisecond, false, "the reserve does not grow over its size"},
		{0, 100 + 2*maxInFlight, 10*time.Second + 2*maxInFlight*100*time.Millisecond, true, "deeper than one who waits can be"},
		{-time.Hour, 0, 10*time.Second + 2*maxInFlight*100*time.Millisecond, true, "a clock that is set back gives nothing and takes nothing"},
	} {
		at = at.Add(step.after)
		silence, ignored := b.take(step.n, at, 10, 100)
		if (silence-step.silence).Abs() > 101*time.Millisecond || ignored != step.ignored {
			t.Errorf("step %d: %s: silence %v %v, want %v", i, step.why, silence, ignored, step.silence)
		}
	}
}

// An outbox is a list: what is added comes out in order from the oldest that
// was not acknowledged on, without a gap in the numbers, and
// added = waiting + acknowledged + dropped.
func TestOutboxAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		o := newOutbox(limit, 0)
		var list []string // all that was taken
		acked, sent, added := 0, 0, 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				e := hit(added)
				added++
				o.add(&e)
				if len(list)-acked < limit {
					list = append(list, e.Message)
				}
			},
			"next": func(t *rapid.T) {
				n := rapid.IntRange(1, 5).Draw(t, "n")
				frame, got := o.next(nil, n)
				want := list[sent:min(len(list), sent+n)]
				if room := limit - limit/8 - (sent - acked); sent > acked {
					want = want[:min(len(want), max(0, room))]
				} else {
					want = want[:min(len(want), limit-limit/8)]
				}
				if got != len(want) {
					t.Fatalf("%d came, want %d", got, len(want))
				}
				if got == 0 {
					return
				}
				d := newDecoder()
				if err := d.decode(frame); err != nil || d.kind != "events" || d.first != uint64(sent+1) {
					t.Fatalf("frame %s: %v", frame, err)
				}
				for i, e := range d.events {
					if e.Message != want[i] {
						t.Fatalf("%q came, want %q", e.Message, want[i])
					}
				}
				sent += got
			},
			"ack": func(t *rapid.T) {
				seq := rapid.IntRange(0, len(list)+3).Draw(t, "seq")
				o.ack(uint64(seq))
				acked = max(acked, min(seq, sent))
			},
			"resume": func(t *rapid.T) {
				seq := rapid.IntRange(0, sent).Draw(t, "stored")
				o.resume(uint64(seq))
				acked = max(acked, seq)
				sent = acked
			},
			"": func(t *rapid.T) {
				unsent, waiting := o.waiting()
				if o.len() != len(list)-acked || unsent != len(list)-sent || waiting != sent-acked {
					t.Fatalf("%d wait (%d unsent, %d sent), want %d (%d, %d)", o.len(), unsent, waiting, len(list)-acked, len(list)-sent, sent-acked)
				}
				if int(o.dropped())+len(list) != added {
					t.Fatalf("%d of %d added are dropped, %d were taken", o.dropped(), added, len(list))
				}
			},
		})
	})
}

// A server that says it has what was never sent loses no event, and is not
// given numbers that it takes for old ones.
func TestServerThatSaysTooMuch(t *testing.T) {
	o := newOutbox(0, 0)
	for i := range 3 {
		e := hit(i)
		o.add(&e)
	}
	o.ack(100)
	if o.len() != 3 {
		t.Errorf("%d events wait after an acknowledgement of what was not sent", o.len())
	}
	o.resume(100)
	frame, n := o.next(nil, 10)
	d := newDecoder()
	if err := d.decode(frame); err != nil || n != 3 || d.first != 101 {
		t.Errorf("%d events from number %d on, %v", n, d.first, err)
	}
}

func TestOutboxIsBoundedInBytes(t *testing.T) {
	o := newOutbox(0, 10000)
	e := hit(0)
	e.Trap.Payload = make([]byte, 4096)
	for range 5 {
		o.add(&e)
	}
	if o.len() != 1 || o.dropped() != 4 {
		t.Errorf("%d events wait, %d are dropped", o.len(), o.dropped())
	}
}

// Batches stay far below the largest frame, whatever is in them.
func TestBatchesFitInAFrame(t *testing.T) {
	o := newOutbox(0, 0)
	e := hit(0)
	e.Trap.Payload = make([]byte, event.MaxPayload)
	e.Message = strings.Repeat("\x01", event.MaxText)
	for range maxEvents {
		o.add(&e)
	}
	for {
		frame, n := o.next(nil, maxEvents)
		if n == 0 {
			return
		}
		if len(frame) > maxFrame*3/4 {
			t.Fatalf("a frame of %d bytes", len(frame))
		}
	}
}

func TestJoin(t *testing.T) {
	pin := Pin{1, 2, 3}
	token := encode(make([]byte, 16))
	for _, host := range []string{"vft.example.org", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "h_1"} {
		want := Join{Host: host, Port: 9999, Pin: pin, Token: token}
		if got, err := ParseJoin(want.String()); err != nil || got != want {
			t.Errorf("%s came back as %+v, %v", want, got, err)
		}
	}
	p := pin.String()
	for _, c := range []struct{ text, why string }{
		{"", "nothing"},
		{"vft2:h:1:" + p + ":" + token, "another version"},
		{"vft1:h:0:" + p + ":" + token, "no such port"},
		{"vft1:h:65536:" + p + ":" + token, "no such port"},
		{"vft1:h:+1:" + p + ":" + token, "a sign"},
		{"vft1::1:" + p + ":" + token, "no host"},
		{"vft1:a b:1:" + p + ":" + token, "a space in the host"},
		{"vft1:2001:db8::1:1:" + p + ":" + token, "IPv6 without brackets"},
		{"vft1:[192.0.2.1]:1:" + p + ":" + token, "IPv4 with brackets"},
		{"vft1:[fe80::1%e\nth]:1:" + p + ":" + token, "a line end in the zone"},
		{"vft1:h:1:" + p[1:] + ":" + token, "a short pin"},
		{"vft1:h:1:" + p + ":" + token[:10], "a short token"},
		{"vft1:h:1:" + p + ":" + token + "\n", "a line end"},
		{"vft1:h:1:" + p + ":" + token + ":x", "something follows"},
		{"vft1:h:1:" + p + ":" + strings.Repeat("A", 2000), "a token too long"},
	} {
		if got, err := ParseJoin(c.text); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %+v, %v", c.why, got, err)
		}
	}
}

func FuzzParseJoin(f *testing.F) {
	f.Add(Join{Host: "192.0.2.1", Port: 9999, Token: encode(make([]byte, 16))}.String())
	f.Fuzz(func(t *testing.T, s string) {
		j, err := ParseJoin(s)
		if err != nil {
			return
		}
		if again, err := ParseJoin(j.String()); err != nil || again != j {
			t.Fatalf("%q became %+v, then %+v: %v", s, j, again, err)
		}
		if _, _, err := net.SplitHostPort(j.Addr()); err != nil {
			t.Fatal(err)
		}
	})
}

// Whatever a frame is, it is read or refused; what is read has sound events.
func FuzzFrame(f *testing.F) {
	e := hit(0)
	f.Add([]byte(string(e.AppendJSON(appendEvents(nil, 1))) + endEvents))
	f.Add(marshal(heartbeatFrame{Type: "heartbeat", Heartbeat: Heartbeat{Time: time.Unix(1, 0), Traps: []uint16{22}}}))
	d := newDecoder()
	f.Fuzz(func(t *testing.T, frame []byte) {
		if d.decode(frame) != nil {
			return
		}
		for i := range d.events {
			if err := d.events[i].Check(); err != nil {
				t.Fatal(err)
			}
		}
		// A strict reader of another make finds the same frame in it.
		var other struct {
			FirstSeq uint64 `json:"first_seq"`
			Events   []json.RawMessage
		}
		if err := json.Unmarshal(frame, &other); err != nil {
			t.Fatalf("encoding/json refuses %s: %v", frame, err)
		}
		d.recycle()
	})
}

func TestDecoderReadsWhatTheFrameTypesWrite(t *testing.T) {
	want := Heartbeat{Time: time.Unix(1e9, 5).UTC(), Spooled: 1, Dropped: 2, SelfTest: "ok", Load: 1.5, Traps: []uint16{1, 65535}, Failed: []uint16{2}}
	d := newDecoder()
	if err := d.decode(marshal(heartbeatFrame{Type: "heartbeat", Heartbeat: want})); err != nil {
		t.Fatal(err)
	}
	if d.kind != "heartbeat" || !reflect.DeepEqual(d.beat, want) {
		t.Errorf("read %s %+v", d.kind, d.beat)
	}
	// In any order, with keys of a newer version, and nulls.
	if err := d.decode([]byte(`{"events":null,"new":{"a":[1]},"traps":null,"first_seq":7,"type":"events"}`)); err != nil || d.kind != "events" || d.first != 7 {
		t.Errorf("read %s %d: %v", d.kind, d.first, err)
	}
}

func TestDecodingAllocatesOncePerEvent(t *testing.T) {
	o := fullOutbox()
	frame, n := o.next(nil, maxBatch)
	d := newDecoder()
	if err := d.decode(frame); err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(20, func() { _ = d.decode(frame) }); allocs > float64(n) {
		t.Errorf("%v allocations for %d events", allocs, n)
	}
}

func TestRegistryDealsNames(t *testing.T) {
	r := newRegistry("", 100, time.Now)
	if err := r.load(); err != nil {
		t.Fatal(err)
	}
	seed := byte(0)
	newKey := func() ed25519.PublicKey {
		seed++
		return (&identity{Key: append(make([]byte, 31), seed)}).public()
	}
	for _, c := range []struct{ hostname, want, why string }{
		{"web-1", "web-1", "as it is"},
		{"Web_1.Example", "web-1.example", "small letters"},
		{"..", "host", "nothing is left"},
		{"", "host", "no name"},
		{"h\x00é\n", "h", "no control characters"},
		{strings.Repeat("x", 100), strings.Repeat("x", 63), "as long as a DNS label"},
	} {
		m, err := r.enrol(newKey(), c.hostname)
		if err != nil {
			t.Fatal(err)
		}
		if name := m.ID[:len(m.ID)-9]; name != c.want || m.ID[len(m.ID)-9] != '-' {
			t.Errorf("%s: %q is called %q", c.why, c.hostname, m.ID)
		}
	}
	// One who searched for a key with the digits of another gets more digits.
	key := newKey()
	m, _ := r.enrol(key, "h")
	r.members[m.ID] = &member{record: record{ID: m.ID}}
	delete(r.byKey, string(key))
	if again, err := r.enrol(key, "h"); err != nil || again.ID == m.ID || !strings.HasPrefix(again.ID, m.ID) {
		t.Errorf("the second is called %q, %v", again.ID, err)
	}
	// A known key keeps its name whatever its host is called now.
	if again, _ := r.enrol(key, "other"); !strings.HasPrefix(again.ID, m.ID) {
		t.Errorf("a client was called %q, then %q", m.ID, again.ID)
	}
}

func TestRegistryKeepsAllThatEnrolAtOnce(t *testing.T) {
	dir := t.TempDir()
	r := newRegistry(dir, 1000, time.Now)
	if err := r.load(); err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	for range 100 {
		work.Go(func() {
			m, err := r.enrol(newIdentity().public(), "h")
			if err != nil {
				t.Error(err)
				return
			}
			b, err := os.ReadFile(filepath.Join(dir, registryFile))
			if err != nil || !strings.Contains(string(b), m.ID) {
				t.Errorf("%s was enrolled and is not in the file", m.ID)
			}
		})
	}
	work.Wait()
	again := newRegistry(dir, 1000, time.Now)
	if err := again.load(); err != nil {
		t.Fatal(err)
	}
	if len(again.members) != 100 {
		t.Errorf("%d of 100 came back", len(again.members))
	}
}

func TestWhatAServerKeeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vft")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first, err := LoadOrMakeCertificate(dir, []string{"web-1", "192.0.2.1", "2001:db8::1", "bad name", "localhost"}, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrMakeCertificate(dir, nil, now)
	if err != nil || !slices.EqualFunc(first.Certificate, again.Certificate, slices.Equal) {
		t.Errorf("the certificate is another the second time, %v", err)
	}
	cert := leaf(t, first)
	if !slices.Equal(cert.DNSNames, []string{"localhost", "web-1"}) || len(cert.IPAddresses) != 2 || cert.NotAfter.Year() != 2036 {
		t.Errorf("it is for %v and %v until %v", cert.DNSNames, cert.IPAddresses, cert.NotAfter)
	}
	secret, err := LoadOrMakeSecret(filepath.Join(dir, "secret"))
	if err != nil || len(secret) != 43 {
		t.Errorf("secret of %d characters, %v", len(secret), err)
	}
	if again, _ := LoadOrMakeSecret(filepath.Join(dir, "secret")); again != secret {
		t.Error("the secret is another the second time")
	}
	token, err := LoadOrMakeToken(filepath.Join(dir, "token"))
	if err != nil || !isToken(token) {
		t.Errorf("token of %d characters, %v", len(token), err)
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{"": 0o700 | os.ModeDir, "cert.pem": 0o600, "key.pem": 0o600, "secret": 0o600, "token": 0o600} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
				t.Errorf("%q has the mode %v, want %v", name, info.Mode(), want)
			}
		}
	}
	if err := os.Remove(filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrMakeCertificate(dir, nil, now); err == nil || !strings.Contains(err.Error(), "remove both") {
		t.Errorf("a certificate without its key gives %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrMakeSecret(filepath.Join(dir, "secret")); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty secret gives %v", err)
	}
}

// Client and server on one host start at the same moment and share a secret.
func TestSecretMadeByManyAtOnceIsOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vft", "secret")
	made := make([]string, 20)
	var work sync.WaitGroup
	for i := range made {
		work.Go(func() {
			var err error
			if made[i], err = LoadOrMakeSecret(file); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if slices.Sort(made); made[0] != made[len(made)-1] {
		t.Error("there are two secrets")
	}
	if left, _ := filepath.Glob(file + "?*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// No proof is one of another role, kind, key or connection.
func TestProofsDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, key := range []string{"a", "b"} {
		for _, role := range []string{roleServer, roleClient, roleIdentity} {
			for _, kind := range []keyKind{bySecret, byToken} {
				for _, binding := range []string{"x", "y"} {
					what := fmt.Sprint(key, role, kind, binding)
					p := proof(key, role, kind, []byte(binding))
					if other, found := seen[string(p)]; found {
						t.Errorf("%s and %s have one proof", what, other)
					}
					seen[string(p)] = what
					if !proven(p, key, role, kind, []byte(binding)) || proven(p[1:], key, role, kind, []byte(binding)) {
						t.Errorf("%s is not checked well", what)
					}
				}
			}
		}
	}
	if proven(proof("", roleClient, bySecret, nil), "", roleClient, bySecret, nil) {
		t.Error("an empty key proves something")
	}
}
