package e2e

import (
	endian "encoding/binary"
	"encoding/json"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"vft/alerting/amqp/amqptest"
)

// TestThreatsReachABroker lets a server tell a real RabbitMQ of threats that it
// finds in exported flows. The broker is stopped for ten seconds meanwhile.
func TestThreatsReachABroker(t *testing.T) {
	broker := amqptest.Start(t)
	collector, port := freeAddress(t, "udp"), freeAddress(t, "tcp")
	server := exec.Command(binary, "--bind", port, "server", "--netflow", collector, "--data-dir", t.TempDir())
	server.Env = append(os.Environ(), "AMQP_REPORTING_URI="+broker.URI)
	vft := start(t, "server", server)
	vft.waitFor(vft.err, 10*time.Second, "collecting flows")
	vft.waitFor(vft.err, 10*time.Second, "the AMQP broker takes threats")

	probe(t, collector, "198.51.100.1")
	first := broker.Receive("security-threat", 1)[0]
	if first.DeliveryMode != amqp091.Persistent || first.ContentType != "application/json" {
		t.Errorf("not persistent JSON: %+v", first)
	}
	checkThreat(t, first.Body, "198.51.100.1")

	// What is consumed and not yet confirmed would rightly be sent again.
	eventually(t, 20*time.Second, "the broker has not confirmed what was consumed", func() bool {
		return strings.Trim(broker.Ctl("list_channels", "-q", "--no-table-headers", "messages_unconfirmed"), "0 \n") == ""
	})
	broker.Stop()
	away := time.NewTimer(10 * time.Second)
	vft.waitFor(vft.err, 10*time.Second, "the AMQP broker fails")
	probe(t, collector, "198.51.100.2")
	vft.waitFor(vft.out, 10*time.Second, `"winscan"`, "198.51.100.2")
	<-away.C
	broker.Start()
	checkThreat(t, broker.Receive("security-threat", 1)[0].Body, "198.51.100.2")

	if state := vft.stop(); state != 0 {
		t.Errorf("the server ended with %d", state)
	}
	if queue, err := broker.Channel().QueueDeclarePassive("security-threat", true, false, false, false, nil); err != nil || queue.Messages != 0 {
		t.Errorf("a threat came twice, or its end was told too: %+v, %v", queue, err)
	}
	if said := vft.err.tail(1 << 20); strings.Contains(said, amqptest.Password) || strings.Contains(said, "p%40ss") {
		t.Errorf("the password is in the log:\n%s", said)
	}
}

// checkThreat holds a message of the broker against what a consumer is
// promised.
func checkThreat(t *testing.T, body []byte, offender string) {
	t.Helper()
	var got struct {
		Type, Observer, Offender string
		Timestamp                time.Time
		Details                  map[string]any
	}
	var keys map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &keys); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(slices.Sorted(maps.Keys(keys)), " "); all != "details observer offender timestamp type" {
		t.Errorf("the keys are %s", all)
	}
	if got.Type != "winscan" || got.Observer != "127.0.0.1" || got.Offender != offender {
		t.Errorf("the message is %s", body)
	}
	if age := time.Since(got.Timestamp); age < -time.Minute || age > 5*time.Minute {
		t.Errorf("the time %v is not that of the flow", got.Timestamp)
	}
	if hosts, _ := got.Details["attacked_hosts"].([]any); !slices.Equal(hosts, []any{"192.0.2.9"}) {
		t.Errorf("the details are %v", got.Details)
	}
}

// probe exports one flow, as NetFlow 5: a SYN of 60 bytes to the port of Windows
// shares of one host.
func probe(t *testing.T, collector, source string) {
	t.Helper()
	now := time.Now()
	var b [24 + 48]byte
	put16, put32 := endian.BigEndian.PutUint16, endian.BigEndian.PutUint32
	put16(b[0:], 5)                  // version
	put16(b[2:], 1)                  // one record
	put32(b[4:], 3_600_000)          // the exporter is up for an hour, in milliseconds
	put32(b[8:], uint32(now.Unix())) // and this is its time
	record, from := b[24:], netip.MustParseAddr(source).As4()
	copy(record[0:], from[:])
	copy(record[4:], []byte{192, 0, 2, 9})
	put32(record[16:], 1)         // packets
	put32(record[20:], 60)        // bytes
	put32(record[24:], 3_599_000) // first and last packet: a second ago
	put32(record[28:], 3_599_000)
	put16(record[32:], 40_000)
	put16(record[34:], 445)
	record[37], record[38] = 2, 6 // SYN, TCP
	conn, err := net.Dial("udp", collector)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(b[:]); err != nil {
		t.Fatal(err)
	}
}

// freeAddress is an address of loopback that nobody listens on.
func freeAddress(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		conn, err := net.ListenPacket(network, "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.LocalAddr().String()
	}
	l, err := net.Listen(network, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
