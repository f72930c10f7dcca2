package siem

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func TestStdout(t *testing.T) {
	var out bytes.Buffer
	d, stop := start(t, Config{Target: Target{Scheme: "stdout"}, Stdout: &out})
	for n := range 10_000 {
		d.Send(number(n))
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if out.String() != lines(0, 9999) {
		t.Error("what came out is not the records in order")
	}
}

func TestStdoutThatWasClosed(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_ = r.Close()
	d := New(Config{Target: Target{Scheme: "stdout"}, Stdout: w})
	d.Send(number(1))
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "stdout") {
		t.Errorf("Run returned %v, though it cannot go on", err)
	}
	balance(t, d)
}

// short takes half of each write.
type short struct{ bytes.Buffer }

func (s *short) Write(b []byte) (int, error) { return s.Buffer.Write(b[:len(b)/2]) }

func TestStdoutThatFails(t *testing.T) {
	broken, w := io.Pipe()
	_ = broken.CloseWithError(errors.New("broken"))
	for _, c := range []struct {
		why string
		w   io.Writer
	}{
		{"an error", w},
		{"a write that was cut without an error", &short{}},
		{"there is none", nil},
	} {
		d := New(Config{Target: Target{Scheme: "stdout"}, Stdout: c.w})
		d.Send(number(1))
		if err := d.Run(t.Context()); !isPermanent(errors.Unwrap(err)) {
			t.Errorf("%s: Run returned %v", c.why, err)
		}
		balance(t, d)
	}
}

func TestStdoutThatNoOneReads(t *testing.T) {
	r, w := io.Pipe()
	d, stop := start(t, Config{Target: Target{Scheme: "stdout"}, Stdout: w, Drain: 10 * time.Millisecond})
	d.Send(number(1))
	d.Send(number(2))
	if err := stop(); err == nil || !strings.Contains(err.Error(), "cannot deliver 2 records to stdout://") {
		t.Errorf("Run returned %v", err)
	}
	_ = r.Close() // ends the write that was left behind
}
