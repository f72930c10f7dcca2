// Package amqptest runs a real RabbitMQ for a test: one node of its own, on
// loopback and free ports, with its data in a directory of the test.
package amqptest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// patience bounds every wait; reaching it is a failure of the test. A node is
// up after about six seconds of one core.
const patience = 90 * time.Second

// program is what Debian's /usr/sbin/rabbitmq-server runs after it has changed
// to the user rabbitmq and that user's directories.
const program = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// The user that a Broker lets in. The password holds characters that a URL must
// encode.
const (
	User     = "vft"
	Password = "p@ss/word:1"
)

// Broker is one RabbitMQ. One goroutine, that of the test, uses it.
type Broker struct {
	URI     string // with user and password
	Address string // host:port

	t       testing.TB
	dir     string
	node    string
	epmd    string // port of the name server of Erlang
	server  *exec.Cmd
	stopped chan error // has the result of server
}

// Start runs a broker until the test ends. Where RabbitMQ is not installed the
// test is skipped, or fails when CI=true.
func Start(t testing.TB) *Broker {
	t.Helper()
	for _, name := range []string{program, "erl", "epmd"} {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing; install rabbitmq-server", name)
		}
		t.Skipf("%s is missing; install rabbitmq-server to run this test", name)
	}
	b := &Broker{t: t, dir: t.TempDir(), epmd: freePort(t)}
	port := freePort(t)
	b.Address = net.JoinHostPort("127.0.0.1", port)
	b.URI = (&url.URL{Scheme: "amqp", User: url.UserPassword(User, Password), Host: b.Address, Path: "/"}).String()
	b.node = "vft" + port + "@localhost"
	b.write("rabbitmq.conf", "listeners.tcp.1 = "+b.Address+"\ndefault_user = "+User+"\ndefault_pass = "+Password+"\ndisk_free_limit.absolute = 1MB\n")
	b.write("plugins", "[].\n")
	b.nameServer()
	t.Cleanup(b.Stop)
	b.Start()
	return b
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func (b *Broker) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// nameServer runs the epmd of the node. One that the node started itself would
// be a daemon and outlive the test.
func (b *Broker) nameServer() {
	b.t.Helper()
	epmd := b.command("epmd", "-port", b.epmd, "-address", "127.0.0.1")
	if err := epmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = epmd.Process.Kill()
		_ = epmd.Wait()
	})
	b.until("epmd answers", nil, func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", b.epmd))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// command makes a command that sees the directory of the broker and nothing of
// the machine's own RabbitMQ, and dies with the test.
func (b *Broker) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = b.dir
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "LANG=C.UTF-8",
		"ERL_EPMD_PORT=" + b.epmd, "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME=" + b.node, "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(b.dir, "rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(b.dir, "plugins"),
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(b.dir, "data"),
		"RABBITMQ_LOG_BASE=" + filepath.Join(b.dir, "log"), "RABBITMQ_LOGS=-",
		"RABBITMQ_ALLOW_INPUT=1", "RABBITMQ_SERVER_START_ARGS=-noinput", // no shell around the node: our child is the node
	}
	dieWithParent(c)
	return c
}

// Start runs the broker again after Stop, with the same port, queues and
// messages.
func (b *Broker) Start() {
	b.t.Helper()
	out, err := os.OpenFile(filepath.Join(b.dir, "output"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer out.Close()
	b.server = b.command(program)
	b.server.Env = append(b.server.Env, "RABBITMQ_DIST_PORT="+freePort(b.t),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}")
	b.server.Stdout, b.server.Stderr = out, out
	if err := b.server.Start(); err != nil {
		b.t.Fatal(err)
	}
	server, stopped := b.server, make(chan error, 1)
	go func() { stopped <- server.Wait() }()
	b.stopped = stopped
	b.until("RabbitMQ answers", stopped, func() bool {
		conn, err := amqp091.Dial(b.URI)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// Stop ends the broker as an administrator does, and waits for it. Durable
// queues and persistent messages stay.
func (b *Broker) Stop() {
	b.t.Helper()
	if b.server == nil {
		return
	}
	_ = b.server.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.stopped:
	case <-time.After(patience):
		_ = b.server.Process.Kill()
		<-b.stopped
		b.t.Error("RabbitMQ did not stop")
	}
	b.server = nil
}

// Kill ends the broker as a crash does: at once, with whatever it was doing.
func (b *Broker) Kill() {
	_ = b.server.Process.Kill()
	<-b.stopped
	b.server = nil
}

// until waits for a condition. When gone has something the wait is over.
func (b *Broker) until(what string, gone chan error, there func() bool) {
	b.t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !there() {
		select {
		case <-again.C:
		case err := <-gone:
			b.server = nil
			b.t.Fatalf("RabbitMQ ended: %v\n%s", err, b.output())
		case <-deadline:
			b.t.Fatalf("waited %v until %s\n%s", patience, what, b.output())
		}
	}
}

// output returns the end of what the broker wrote.
func (b *Broker) output() string {
	text, err := os.ReadFile(filepath.Join(b.dir, "output"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// Ctl runs rabbitmqctl on the broker, which takes about two seconds, and returns
// what it printed.
func (b *Broker) Ctl(args ...string) string {
	b.t.Helper()
	c := b.command(filepath.Join(filepath.Dir(program), "rabbitmqctl"), args...)
	out, err := c.CombinedOutput()
	if err != nil {
		b.t.Fatalf("rabbitmqctl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// Channel opens a channel on a connection of its own, which ends with the test.
func (b *Broker) Channel() *amqp091.Channel {
	b.t.Helper()
	conn, err := amqp091.Dial(b.URI)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		b.t.Fatal(err)
	}
	return ch
}

// Receive takes so many messages out of a queue, which may come later, as may
// the queue.
func (b *Broker) Receive(queue string, count int) []amqp091.Delivery {
	b.t.Helper()
	var got []amqp091.Delivery
	ch := b.Channel()
	b.until(fmt.Sprintf("%d messages are in %s", count, queue), nil, func() bool {
		if ch.IsClosed() {
			ch = b.Channel()
		}
		for len(got) < count {
			m, ok, err := ch.Get(queue, true)
			if err != nil || !ok {
				return false
			}
			got = append(got, m)
		}
		return true
	})
	return got
}
