package siem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"vft/spool"
)

// pipe writes whole lines to stdout. A disk that is full may have room again;
// any other error is for ever: a reader that closed stdout will not come back.
type pipe struct{ w io.Writer }

func (p *pipe) check() error {
	if p.w == nil {
		return errors.New("there is no stdout")
	}
	return nil
}

func (p *pipe) session(ctx context.Context, stop <-chan struct{}, log spool.Log) error {
	if err := p.check(); err != nil {
		return permanent{err}
	}
	return feed(ctx, stop, log, all, func(b spool.Batch) (int, error) { return p.write(ctx, b) })
}

// write waits for a slow reader, but not longer than ctx. Nothing ends a write
// to a pipe that no one reads, so then, as the process ends, that one write is
// left behind.
func (p *pipe) write(ctx context.Context, b spool.Batch) (records int, err error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := p.w.Write(b.Data)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		if r.err == nil && r.n < len(b.Data) {
			r.err = io.ErrShortWrite
		}
		return p.written(b, r.n, r.err)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// written tells how many records are out, given that n bytes are.
func (p *pipe) written(b spool.Batch, n int, err error) (records int, _ error) {
	if err == nil {
		return b.Len(), nil
	}
	records = b.Whole(n)
	whole := len(b.Before(records).Data)
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) && !errors.Is(err, syscall.EIO) {
		return records, permanent{fmt.Errorf("stdout: %w", err)}
	}
	p.mend(n - whole)
	return records, fmt.Errorf("stdout: %w", err)
}

// mend takes half a line back, so that the next one does not follow on it.
// Where stdout is no file, a line end must do.
func (p *pipe) mend(half int) {
	if half == 0 {
		return
	}
	if file, ok := p.w.(interface {
		io.Seeker
		Truncate(size int64) error
	}); ok {
		end, err := file.Seek(0, io.SeekCurrent)
		if err == nil && file.Truncate(end-int64(half)) == nil {
			_, _ = file.Seek(end-int64(half), io.SeekStart)
			return
		}
	}
	_, _ = p.w.Write([]byte{'\n'})
}
