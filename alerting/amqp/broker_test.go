package amqp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"vft/alerting/amqp/amqptest"
	"vft/event"
)

// TestBroker holds a Notifier against a real RabbitMQ.
func TestBroker(t *testing.T) {
	b := amqptest.Start(t)
	for _, c := range []struct {
		why  string
		test func(*testing.T, *amqptest.Broker)
	}{
		{"a threat has the five keys and lasts", testFiveKeys},
		{"a queue that is there is used as it is", testOtherProperties},
		{"a full queue refuses: kept until there is room", testFullQueue},
		{"no queue is bound to the exchange: kept until one is", testExchange},
		{"a queue that was deleted is declared anew", testDeletedQueue},
		{"a wrong password is tried again and never logged", testWrongPassword},
		{"a right password without permissions says what is missing", testNoPermission},
		{"a broker short of memory: kept until it goes on", testBlocked},
		{"a confirmation that never comes: published again", testNoConfirmation},
		{"a silent broker is noticed by its heartbeats", testSilence},
		{"a broker that stops reading is given up", testStalled},
		{"over TLS, with the right authority", testTLS},
		{"a broker that was stopped gets each threat once", testStopped},
		{"a broker that crashes while threats come loses none", testKilled},
	} {
		t.Run(c.why, func(t *testing.T) { c.test(t, b) })
	}
}

// toBroker starts a Notifier to the broker.
func toBroker(t *testing.T, b *amqptest.Broker, c Config, tune ...func(*Notifier)) *running {
	t.Helper()
	if c.Target.Address == "" {
		c.Target = target(t, b.URI)
	}
	return start(t, c, tune...)
}

// want checks that the messages are those of these threats, each once.
func want(t *testing.T, got []amqp091.Delivery, numbers ...uint64) {
	t.Helper()
	var ids, wanted []string
	for _, m := range got {
		ids = append(ids, m.MessageId)
	}
	for _, number := range numbers {
		wanted = append(wanted, threat(number, event.Firing).ID.String())
	}
	slices.Sort(ids)
	if !slices.Equal(ids, wanted) {
		t.Errorf("got %v, want %v", ids, wanted)
	}
}

func testFiveKeys(t *testing.T, b *amqptest.Broker) {
	n := toBroker(t, b, Config{})
	n.send(1)
	n.Send(threat(1, event.Updated))
	n.Send(threat(1, event.Resolved))
	m := b.Receive("security-threat", 1)[0]
	var got map[string]any
	if err := json.Unmarshal(m.Body, &got); err != nil {
		t.Fatal(err)
	}
	if keys := strings.Join(slices.Sorted(maps.Keys(got)), " "); keys != "details observer offender timestamp type" {
		t.Errorf("the keys are %s", keys)
	}
	if !bytes.Equal(m.Body, newMessage(threat(1, event.Firing)).body) {
		t.Errorf("the body is %s", m.Body)
	}
	if m.ContentType != "application/json" || m.DeliveryMode != amqp091.Persistent || m.RoutingKey != "security-threat" || m.Exchange != "" ||
		!m.Timestamp.Equal(flowTime.Truncate(time.Second)) || m.MessageId != threat(1, event.Firing).ID.String() {
		t.Errorf("the message is %+v", m)
	}
	if q, err := b.Channel().QueueDeclare("security-threat", true, false, false, false, nil); err != nil || q.Messages != 0 {
		t.Errorf("the queue is not durable, or holds the update or the end of the threat: %+v, %v", q, err)
	}
	n.reach("delivered", 1)
	if err := n.stop(); err != nil {
		t.Error(err)
	}
	if count(n.Notifier, "attempts") != 1 || count(n.Notifier, "failures") != 0 {
		t.Errorf("not one connection: %s", n.log)
	}
}

func testOtherProperties(t *testing.T, b *amqptest.Broker) {
	if _, err := b.Channel().QueueDeclare("other", false, false, false, false, amqp091.Table{"x-max-length": 10}); err != nil {
		t.Fatal(err)
	}
	n := toBroker(t, b, Config{Queue: "other"})
	n.send(1)
	want(t, b.Receive("other", 1), 1)
	if log := n.log.String(); !strings.Contains(log, "it is used as it is") || !strings.Contains(log, "inequivalent arg") {
		t.Errorf("the log says %s", log)
	}
}

func testFullQueue(t *testing.T, b *amqptest.Broker) {
	if _, err := b.Channel().QueueDeclare("small", true, false, false, false, amqp091.Table{"x-max-length": 2, "x-overflow": "reject-publish"}); err != nil {
		t.Fatal(err)
	}
	n := toBroker(t, b, Config{Queue: "small"})
	for number := range uint64(20) {
		n.send(number)
		if number == 2 {
			n.reach("nacked", 1) // more would be taken while the first are on their way
		}
	}
	n.reach("nacked", 3)
	if queued := count(n.Notifier, "queued"); queued < 10 {
		t.Errorf("the queue takes 2 messages, %d of 20 threats wait", queued)
	}
	var numbers []uint64
	for number := range uint64(20) {
		numbers = append(numbers, number)
	}
	want(t, b.Receive("small", 20), numbers...)
	n.reach("delivered", 20)
	if log := n.log.String(); strings.Count(log, "takes no more messages") != 1 {
		t.Errorf("the log says %s", log)
	}
}

func testExchange(t *testing.T, b *amqptest.Broker) {
	n := toBroker(t, b, Config{Exchange: "alerts", Queue: "key"})
	n.send(1, 2)
	n.reach("failures", 2)
	if log := n.log.String(); !strings.Contains(log, `there is no exchange \"alerts\"`) {
		t.Errorf("the log says %s", log)
	}
	ch := b.Channel()
	if err := ch.ExchangeDeclare("alerts", "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	n.reach("returned", 3)
	if log := n.log.String(); !strings.Contains(log, "no queue is bound") {
		t.Errorf("the log says %s", log)
	}
	if _, err := ch.QueueDeclare("bound", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("bound", "key", "alerts", false, nil); err != nil {
		t.Fatal(err)
	}
	want(t, b.Receive("bound", 2), 1, 2)
	n.reach("delivered", 2)
}

func testDeletedQueue(t *testing.T, b *amqptest.Broker) {
	n := toBroker(t, b, Config{Queue: "deleted"})
	n.send(1)
	n.reach("delivered", 1)
	if _, err := b.Channel().QueueDelete("deleted", false, false, false); err != nil {
		t.Fatal(err)
	}
	n.send(2)
	want(t, b.Receive("deleted", 1), 2)
	n.reach("returned", 1)
}

func testWrongPassword(t *testing.T, b *amqptest.Broker) {
	uri := fmt.Sprintf("amqp://%s:s3cret-but-wrong@%s", amqptest.User, b.Address)
	n := toBroker(t, b, Config{Target: target(t, uri), Drain: time.Millisecond})
	n.send(1)
	n.reach("failures", 2)
	if count(n.Notifier, "queued") != 1 {
		t.Error("the threat was not kept")
	}
	err := n.stop()
	if err == nil {
		t.Error("Run says that it delivered")
	}
	log := n.log.String() + fmt.Sprint(err)
	if !strings.Contains(log, `is the password right`) || strings.Contains(log, "s3cret") {
		t.Errorf("the log says %s", log)
	}
}

func testNoPermission(t *testing.T, b *amqptest.Broker) {
	b.Ctl("add_user", "stranger", "pw-of-a-stranger")
	n := toBroker(t, b, Config{Target: target(t, "amqp://stranger:pw-of-a-stranger@"+b.Address), Queue: "forbidden"})
	n.send(1)
	n.reach("failures", 2)
	if log := n.log.String(); !strings.Contains(log, `refuses user \"stranger\" on vhost \"/\"`) || strings.Contains(log, "pw-of") {
		t.Errorf("the log says %s", log)
	}
	b.Ctl("set_permissions", "stranger", "none", ".*", "none")
	if _, err := b.Channel().QueueDeclare("forbidden", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	want(t, b.Receive("forbidden", 1), 1) // by one who may write, and nothing else
}

func testBlocked(t *testing.T, b *amqptest.Broker) {
	n := toBroker(t, b, Config{Queue: "blocked", Confirm: time.Second})
	n.send(1)
	n.reach("delivered", 1)
	b.Ctl("set_vm_memory_high_watermark", "absolute", "1MB")
	n.send(2)
	n.reach("blocked", 1)
	n.send(3, 4, 5)
	b.Ctl("set_vm_memory_high_watermark", "0.8") // later than Config.Confirm, which does not run meanwhile
	want(t, b.Receive("blocked", 5), 1, 2, 3, 4, 5)
	n.reach("delivered", 5)
	if count(n.Notifier, "attempts") != 1 {
		t.Errorf("the connection did not last: %s", n.log)
	}
	if log := n.log.String(); !strings.Contains(log, "stopped its publishers") {
		t.Errorf("the log says %s", log)
	}
}

// quick lets a Notifier give up a connection soon that does not come about.
func quick(n *Notifier) { n.setup = time.Second }

func testNoConfirmation(t *testing.T, b *amqptest.Broker) {
	r := newRelay(t, b.Address, nil)
	n := toBroker(t, b, Config{Target: through(t, b, r), Queue: "unconfirmed", Confirm: 300 * time.Millisecond}, quick)
	n.send(1)
	n.reach("delivered", 1)
	r.hold(toClient) // the broker takes the message, and its answer is lost
	n.send(2)
	n.reach("unsettled", 1)
	r.release()
	n.reach("delivered", 2)
	want(t, b.Receive("unconfirmed", 3), 1, 2, 2) // a consumer tells the second by its message-id
	if log := n.log.String(); !strings.Contains(log, "did not confirm") {
		t.Errorf("the log says %s", log)
	}
}

func testSilence(t *testing.T, b *amqptest.Broker) {
	r := newRelay(t, b.Address, nil)
	to := through(t, b, r)
	to.Heartbeat = time.Second
	n := toBroker(t, b, Config{Target: to, Queue: "silent", Confirm: time.Hour}, quick)
	n.send(1)
	n.reach("delivered", 1)
	r.hold(toClient | toBrokerSide)
	n.send(2)
	n.reach("failures", 1)
	r.release()
	n.reach("delivered", 2)
	if log := n.log.String(); !strings.Contains(log, "timeout") {
		t.Errorf("the log says %s", log)
	}
	want(t, b.Receive("silent", 2), 1, 2)
}

func testStalled(t *testing.T, b *amqptest.Broker) {
	r := newRelay(t, b.Address, nil)
	to := through(t, b, r)
	to.Heartbeat = time.Second
	n := toBroker(t, b, Config{Target: to, Queue: "stalled", Confirm: 2 * time.Second}, quick)
	n.send(0)
	n.reach("delivered", 1)
	r.hold(stalled)
	const large = 40 // of these, more than the sockets on the way take
	for number := range uint64(large) {
		e := threat(number+1, event.Firing)
		e.Threat.Details = map[string]any{"text": strings.Repeat("x", 900<<10)}
		n.Send(e)
	}
	n.reach("failures", 1)
	r.release()
	n.reach("delivered", large+1)
}

func testTLS(t *testing.T, b *amqptest.Broker) {
	a := newAuthority(t)
	r := newRelay(t, b.Address, a.server)
	secure := func(ca string) Target {
		to := through(t, b, r)
		to.TLS, to.CA = true, ca
		return to
	}
	n := toBroker(t, b, Config{Target: secure(a.file), Queue: "tls"})
	n.send(1)
	want(t, b.Receive("tls", 1), 1)
	stranger := toBroker(t, b, Config{Target: secure(newAuthority(t).file), Queue: "tls", Drain: time.Millisecond})
	stranger.send(2)
	stranger.reach("failures", 2)
	if log := stranger.log.String(); !strings.Contains(log, "certificate signed by unknown authority") {
		t.Errorf("the log says %s", log)
	}
	if err := stranger.stop(); err == nil || count(stranger.Notifier, "delivered") != 0 {
		t.Errorf("it was delivered to a broker that nobody vouches for: %v", err)
	}
}

func testStopped(t *testing.T, b *amqptest.Broker) {
	n := toBroker(t, b, Config{Queue: "stopped"})
	n.send(1)
	n.reach("delivered", 1)
	b.Stop()
	n.reach("failures", 1)
	n.send(2, 3)
	n.reach("failures", 3)
	late := toBroker(t, b, Config{Queue: "stopped"}) // it never saw the broker
	late.send(4)
	late.reach("failures", 1)
	b.Start()
	want(t, b.Receive("stopped", 4), 1, 2, 3, 4) // the first is persistent
	n.reach("delivered", 3)
	late.reach("delivered", 1)
	if q, err := b.Channel().QueueDeclarePassive("stopped", true, false, false, false, nil); err != nil || q.Messages != 0 {
		t.Errorf("there are more: %+v, %v", q, err)
	}
	for _, one := range []*running{n, late} {
		if err := one.stop(); err != nil {
			t.Error(err)
		}
	}
}

func testKilled(t *testing.T, b *amqptest.Broker) {
	const all = 2000
	// Not a queue of its own: RabbitMQ 3.10 may forget one, with all it has
	// confirmed, that was declared just before the crash.
	const queue = "stopped"
	n := toBroker(t, b, Config{Queue: queue})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for number := range uint64(all) {
			if n.Wait(t.Context(), 400) != nil {
				return
			}
			n.send(number)
		}
	}()
	n.reach("delivered", all/4)
	b.Kill()
	b.Start()
	<-sent
	n.reach("delivered", all)
	seen := map[string]bool{}
	total, ch := 0, b.Channel()
	for {
		m, ok, err := ch.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		seen[m.MessageId] = true
		total++
	}
	if again := uint64(total - len(seen)); len(seen) != all || again > count(n.Notifier, "unsettled") {
		t.Errorf("%d of %d threats arrived, %d of them again, with %d messages unsettled", len(seen), all, again, count(n.Notifier, "unsettled"))
	}
	t.Logf("%d messages for %d threats, %d unsettled", total, all, count(n.Notifier, "unsettled"))
}

// BenchmarkDeliver is the time until a real broker has confirmed a threat, with
// many on their way.
func BenchmarkDeliver(b *testing.B) {
	broker := amqptest.Start(b)
	n := start(b, Config{Target: target(b, broker.URI)})
	e := threat(1, event.Firing)
	sent := uint64(0)
	for b.Loop() {
		if err := n.Wait(b.Context(), 1000); err != nil {
			b.Fatal(err)
		}
		n.Send(e)
		sent++
	}
	n.reach("delivered", sent)
	b.ReportMetric(1_000_000, "limit-ns/op")
}
