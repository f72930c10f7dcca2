package siem

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestUDP(t *testing.T) {
	l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_ = l.SetReadBuffer(1 << 20)
	_ = l.SetReadDeadline(time.Now().Add(patience))
	d, stop := start(t, Config{Target: tcpTarget(t, "udp://"+l.LocalAddr().String())})
	largest := bytes.Repeat([]byte{'x'}, maxDatagram-1)
	d.Send(number(1))
	d.Send(append(largest, 'x')) // one byte too many
	d.Send(largest)
	d.Send(number(2))
	room := make([]byte, 1<<16)
	for _, want := range [][]byte{number(1), largest, number(2)} {
		n, err := l.Read(room)
		if err != nil || !bytes.Equal(room[:n], append(want, '\n')) {
			t.Errorf("a datagram of %d bytes (%v), want %d", n, err, len(want)+1)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := count(d, "dropped_too_large"); n != 1 {
		t.Errorf("%d dropped, want 1", n)
	}
}

// pretend is a connection whose writes give these errors, one after another.
type pretend struct {
	net.Conn
	errs  []error
	wrote int
}

func (p *pretend) Write(b []byte) (n int, err error) {
	if len(p.errs) > 0 {
		err, p.errs = p.errs[0], p.errs[1:]
	}
	if err != nil {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: os.NewSyscallError("write", err)}
	}
	p.wrote++
	return len(b), nil
}

func (p *pretend) Close() error { return nil }

func TestUDPErrors(t *testing.T) {
	for _, c := range []struct {
		why       string
		errs      []error
		wrote     int
		delivered uint64
		tooLarge  uint64
		want      error
	}{
		{"none", nil, 2, 2, 0, nil},
		{"refused earlier: sent all the same", []error{syscall.ECONNREFUSED, nil}, 2, 2, 0, nil},
		{"refused twice: later", []error{syscall.ECONNREFUSED, syscall.ECONNREFUSED}, 0, 0, 0, syscall.ECONNREFUSED},
		{"larger than this system takes: the next is sent", []error{syscall.EMSGSIZE, nil}, 1, 1, 1, nil},
		{"unreachable: later", []error{nil, syscall.ENETUNREACH}, 1, 1, 0, syscall.ENETUNREACH},
	} {
		conn := &pretend{errs: c.errs}
		d := New(Config{Target: Target{Scheme: "udp", Address: "a:1"}, Dial: func(context.Context, string, string) (net.Conn, error) { return conn, nil }})
		d.Send(number(1))
		d.Send(number(2))
		stop := make(chan struct{})
		close(stop)
		err := d.transport.session(context.Background(), stop, d.log)
		if !errors.Is(err, c.want) || conn.wrote != c.wrote || count(d, "delivered") != c.delivered || count(d, "dropped_too_large") != c.tooLarge {
			t.Errorf("%s: %v, %d written, %d delivered, %d too large", c.why, err, conn.wrote, count(d, "delivered"), count(d, "dropped_too_large"))
		}
		balance(t, d)
	}
}
