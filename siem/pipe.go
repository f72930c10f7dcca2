package siem

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// pipe writes whole lines to stdout. An error of stdout is for ever: a reader
// that closed it will not come back.
type pipe struct{ w io.Writer }

func (p *pipe) check() error {
	if p.w == nil {
		return errors.New("there is no stdout")
	}
	return nil
}

func (p *pipe) session(ctx context.Context, stop <-chan struct{}, q *queue) error {
	if err := p.check(); err != nil {
		return permanent{err}
	}
	return q.feed(ctx, stop, func(b batch) (int, error) { return p.write(ctx, b) })
}

// write waits for a slow reader, but not longer than ctx. Nothing ends a write
// to a pipe that no one reads, so then, as the process ends, that one write is
// left behind.
func (p *pipe) write(ctx context.Context, b batch) (records int, err error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := p.w.Write(b.data)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		if r.err == nil && r.n < len(b.data) {
			r.err = io.ErrShortWrite
		}
		if r.err != nil {
			return b.whole(r.n), permanent{fmt.Errorf("stdout: %w", r.err)}
		}
		return len(b.ends), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
